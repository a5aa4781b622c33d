"""Models of other libraries: read from their own files, and written back to them."""
