"""Other ways to attend than a softmax over all keys: cores that any attention takes, one a file."""
