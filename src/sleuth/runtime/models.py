"""Finding a model by its name; the work is done in `sleuth.weights.resolve`, where training finds it too."""

from sleuth.weights.resolve import find_weights, is_path, open_model

__all__ = ["find_weights", "is_path", "open_model"]
