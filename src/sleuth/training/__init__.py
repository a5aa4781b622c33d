"""Training: one recipe is one run, and one function is the whole step."""
