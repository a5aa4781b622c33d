"""Scenes as a source of training and evaluation samples."""

from dataclasses import dataclass

import numpy as np
import torch

from sleuth.data.samples import Sample, check_annotations
from sleuth.data.scenes.annotate import annotate
from sleuth.data.scenes.backgrounds import STUFF
from sleuth.data.scenes.classes import NAMES
from sleuth.data.scenes.compose import Composition, compose, visible_box
from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.glyphs import SPLITS, Split
from sleuth.data.scenes.masks import object_masks, visible_stuff
from sleuth.data.scenes.motion import frames_of
from sleuth.data.scenes.scene import Scene
from sleuth.errors import UserError

_DEFAULT_COUNT = {"train": 100_000, "val": 500, "test": 500}


@dataclass(frozen=True)
class SceneSource:
    """Numbered scenes, composed when asked for; scene ``index`` is a function of split, seed, config and index alone.

    The splits share neither handwritten digits nor random streams. Held-out evaluation uses ``val`` to choose and
    ``test`` to report, 500 scenes of seed 0.

    The pictures do not depend on ``annotations``. Masks hold visible pixels: where objects overlap, the front one's.
    In panoptic samples the objects come first, then what can be seen of the background, one segment for each kind of
    stuff in the picture with the tight box around it: every pixel belongs to exactly one mask. The kinds of stuff
    follow the classes of the objects; ``road`` occurs only where the config asks for lanes.

    Args:
        split: train, val or test.
        count: how many scenes; None for 100,000 in train and 500 in val and test.
        seed: another seed gives other scenes of the same kind.
        config: what the scenes look like.
        annotations: boxes of the objects; instances: their masks too; panoptic: the background as well.
    """

    split: Split = "train"
    count: int | None = None
    seed: int = 0
    config: SceneConfig = SceneConfig()  # noqa: RUF009 (a frozen value)
    annotations: str = "boxes"

    def __post_init__(self) -> None:
        check_annotations(self.annotations)
        if self.split not in SPLITS:
            raise UserError(f"scenes have no split '{self.split}'", mend=f"choose one of {', '.join(SPLITS)}")
        if self.count is not None and self.count < 1:
            raise UserError(f"{self.count} scenes asked for", mend="ask for at least one")
        if self.seed < 0:
            raise UserError(f"the seed {self.seed} is negative", mend="choose a whole number from 0 up")

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return NAMES + STUFF if self.annotations == "panoptic" else NAMES

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Category id of each label in an exported data set, 1 to classes."""
        return tuple(range(1, len(self.names) + 1))

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """Whether each label is a thing: all but the kinds of background are."""
        return tuple(label < len(NAMES) for label in range(len(self.names)))

    @property
    def most_objects(self) -> int:
        """Objects that a scene has at most, kinds of background included where they count as such."""
        config = self.config
        stuff = config.max_regions + config.lanes if self.annotations == "panoptic" else 0
        return config.max_objects + stuff

    def __len__(self) -> int:
        return _DEFAULT_COUNT[self.split] if self.count is None else self.count

    def _dice(self, index: int, stream: int = 0) -> Dice:
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)}")
        return Dice(self.seed, SPLITS.index(self.split), index, stream)

    def compose(self, index: int) -> Composition:
        """The composed scene, before anything is read off it."""
        return compose(self.split, self.config, self._dice(index))

    def render(self, index: int) -> Scene:
        """Scene ``index`` with everything that is known about it; its picture is that of ``load(index)``."""
        return annotate(self.compose(index), self.config)

    def render_clip(self, index: int, frames: int) -> tuple[Scene, ...]:
        """Scene ``index`` and what becomes of it as its objects move; the first frame is ``render(index)``.

        An object keeps its track id in all frames. Where too little of it can be seen it is left out.
        """
        first = compose(self.split, self.config, self._dice(index), keep_backdrop=True)
        clip = frames_of(first, frames, self.config, self._dice(index, stream=1))
        return tuple(annotate(composition, self.config, frame) for frame, composition in enumerate(clip))

    def load(self, index: int) -> Sample:
        """The picture, boxes of the visible parts, labels and, where asked for, masks of scene ``index``."""
        composition = self.compose(index)
        boxes = [visible_box(composition, number) for number in range(len(composition.placements))]
        labels = [placement.label for placement in composition.placements]
        masks = None if self.annotations == "boxes" else object_masks(composition)
        if self.annotations == "panoptic":
            stuff = tuple(visible_stuff(composition))
            boxes += [part.box_xyxy_px for part in stuff]
            labels += [len(NAMES) + part.kind for part in stuff]
            masks = np.concatenate([masks, *(part.mask[None] for part in stuff)])
        return Sample(
            image=torch.from_numpy(np.ascontiguousarray(composition.pixels[:, :, :3].transpose(2, 0, 1))),
            boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.int64),
            name=f"scene {self.split} {index}",
            image_id=index + 1,
            size_hw=self.config.size_hw,
            masks=None if masks is None else torch.from_numpy(masks),
        )
