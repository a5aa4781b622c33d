"""Pictures in files as a source of training samples."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from sleuth.data.pictures import read_picture
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.data.samples import Sample
from sleuth.errors import UserError


def _read(record: PictureRecord) -> UInt8[Tensor, "3 height width"]:
    return read_picture(record.path)


class PictureSource:
    """Serves the pictures of a data set, decoded, with their boxes and, if the data has them, masks.

    Boxes are as annotated. Left out are crowds, and objects whose mask holds no pixel.

    Args:
        data: one split of a data set.
        read: gives a record's pixels; by default those of its file.
    """

    def __init__(
        self, data: DetectionData, *, read: Callable[[PictureRecord], UInt8[Tensor, "3 height width"]] = _read
    ) -> None:
        self.data, self.read = data, read

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.data.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id that each label has in the data set's own format."""
        return self.data.category_ids

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """For each label, whether it is a countable thing."""
        return self.data.is_thing

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.data)

    def load(self, index: int) -> Sample:
        """The picture at ``index`` with its objects.

        Raises:
            UserError: the picture or its masks cannot be read, or are of another size than the annotation says.
        """
        record = self.data.records[index]
        image = self.read(record)
        size_hw = (image.shape[1], image.shape[2])
        if size_hw != record.size_hw:
            raise UserError(size_mismatch(record, size_hw), where=record.path, mend="correct the annotation's size")
        record = record.select(~record.crowd)
        masks = None
        if record.masks is not None:
            masks = record.masks.decode()
            seen = masks.flatten(1).any(1) if len(masks) else torch.zeros(0, dtype=torch.bool)
            record, masks = record.select(seen.numpy()), masks[seen]
        return Sample(
            image=image,
            boxes_xyxy_px=torch.from_numpy(record.boxes_xyxy_px.astype(np.float32)),
            labels=torch.from_numpy(record.labels),
            name=record.name,
            image_id=record.id,
            size_hw=size_hw,
            masks=masks,
        )


def size_mismatch(record: PictureRecord, size_hw: tuple[int, int]) -> str:
    """What is wrong where a picture's size is not the annotated one, in words."""
    (height, width), (said_height, said_width) = size_hw, record.size_hw
    what = f"the picture is {width}x{height} (width x height), its annotation says {said_width}x{said_height}"
    if (height, width) == (said_width, said_height):
        what += ", as if it had been annotated before its EXIF rotation"
    return what
