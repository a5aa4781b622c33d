"""The nouns that every model, loss and task speaks: batches, memory, predictions, text. Each has its module."""
