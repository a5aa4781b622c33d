"""The built-in data: pictures composed on the fly from handwritten digits and coloured shapes."""

from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.source import SceneSource

__all__ = ["SceneConfig", "SceneSource"]
