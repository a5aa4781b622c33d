"""The built-in data: pictures composed on the fly from handwritten digits and coloured shapes."""

from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.lanes import Curve
from sleuth.data.scenes.scene import KEY_POINTS, Region, Scene, SceneObject
from sleuth.data.scenes.source import SceneSource

__all__ = ["KEY_POINTS", "Curve", "Region", "Scene", "SceneConfig", "SceneObject", "SceneSource"]
