"""Sleuth: query-based vision with Transformers.

``sleuth.load(name_or_path)`` gives a predictor, or of a translation model a translator, or a classifier. PyTorch is
imported only when something is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sleuth.errors import UserError
    from sleuth.runtime.classifier import Classifier
    from sleuth.runtime.detections import Detections
    from sleuth.runtime.load import load
    from sleuth.runtime.predictor import Predictor
    from sleuth.tasks.translator import Translator

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "sleuth.runtime.classifier",
    "Detections": "sleuth.runtime.detections",
    "Predictor": "sleuth.runtime.predictor",
    "Translator": "sleuth.tasks.translator",
    "load": "sleuth.runtime.load",
    "UserError": "sleuth.errors",
}

__all__ = ["Classifier", "Detections", "Predictor", "Translator", "UserError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sleuth' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
