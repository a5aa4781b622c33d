"""The built-in scenes with a class for every pixel: digits and shapes, and the kinds of background."""

import torch

from sleuth.data.scenes import SceneConfig, SceneSource
from sleuth.data.scenes.glyphs import Split
from sleuth.data.semantic.samples import SemanticSample
from sleuth.tasks.semantic import UNLABELLED

SCENES = "scenes"


class SemanticScenes:
    """Numbered scenes, composed when asked for; a `SemanticSource`. Every pixel is of an object or of the background.

    Args:
        split: train, val or test.
        count: how many scenes; None for those of `SceneSource`.
        seed: another seed gives other scenes of the same kind.
        config: what the scenes look like.
    """

    def __init__(
        self, split: Split = "train", count: int | None = None, *, seed: int = 0, config: SceneConfig | None = None
    ) -> None:
        self.scenes = SceneSource(split, count, seed, config or SceneConfig(), annotations="panoptic")

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label: objects first, then backgrounds."""
        return self.scenes.names

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.scenes)

    def load(self, index: int) -> SemanticSample:
        """Scene ``index`` and the class of each of its pixels."""
        sample = self.scenes.load(index)
        assert sample.masks is not None
        labels = torch.full(sample.image.shape[1:], UNLABELLED, dtype=torch.uint8)
        for label, mask in zip(sample.labels.tolist(), sample.masks, strict=True):
            labels[mask] = label
        return SemanticSample(sample.image, labels, sample.name)
