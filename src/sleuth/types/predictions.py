"""What asks, and what is answered: queries, sets of scored boxes, classes of pictures and of pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.types.memory import Memory, PatchMemory


@dataclass(frozen=True)
class Queries:
    """What asks: decoder input and the position added to queries and keys in each decoder layer."""

    content: Float[Tensor, "batch queries dim"]
    pos: Float[Tensor, "batch queries dim"]


MaskReader = Callable[[Tensor, Tensor], Tensor]
"""Reads the masks of chosen queries off a prediction: (picture [masks], query [masks]) to mask logits.

The logits [masks, height, width] cover the padded input at a quarter of its size. A mask costs nothing until it is
asked for: training asks for matched queries, prediction for those above the threshold.
"""


@dataclass(frozen=True)
class Match:
    """Which query answers for which object, as three parallel index lists over the batch.

    Args:
        picture: row of the batch.
        query: query within the picture.
        target: object within the picture.
    """

    picture: Int[Tensor, " matches"]
    query: Int[Tensor, " matches"]
    target: Int[Tensor, " matches"]


@dataclass(frozen=True)
class Proposals:
    """What a two-stage model's encoder proposes, before any decoder layer: the tokens that became queries.

    Args:
        logits: class logits of the proposals.
        boxes_cxcywh: their boxes, relative to the unpadded picture.
        class_agnostic: the logits say object or not by their first class alone, as Deformable DETR's.
    """

    logits: Float[Tensor, "batch queries classes"]
    boxes_cxcywh: Float[Tensor, "batch queries 4"]
    class_agnostic: bool = False


@dataclass(frozen=True)
class Corners:
    """Box edges as distributions: how far each edge of a query's reference box is to move, as logits over bins.

    Args:
        logits: of the bins of left, top, right and bottom, after each decoder layer.
        references_cxcywh: the boxes whose edges move.
        reg_scale: curvature of the bins.
        up: reach of the bins.
    """

    logits: Float[Tensor, "layers batch queries edges_bins"]
    references_cxcywh: Float[Tensor, "batch queries 4"]
    reg_scale: float | Float[Tensor, "..."]
    up: float | Float[Tensor, "..."]


@dataclass(frozen=True)
class Denoising:
    """Training-only queries that start from noised objects and are to find them again; their match is known.

    Args:
        logits: class logits after each decoder layer.
        boxes_cxcywh: boxes after each decoder layer.
        match: which of them start near which object; the others start far off and are to find nothing.
        groups: how many times each object is asked for.
        corners: edge distributions, for models that have them.
        present: False on queries that only fill up the batch.
    """

    logits: Float[Tensor, "layers batch queries classes"]
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"]
    match: Match
    groups: int
    corners: Corners | None = None
    present: Bool[Tensor, "batch queries"] | None = None


@dataclass(frozen=True)
class Points:
    """Where the answers of a dense detector stand: one in every cell of every level.

    Args:
        centres_px: x and y of each point, in pixels of the padded input.
        strides: pixels between a point and its neighbours on its level.
        ranges_px: a point is for objects whose farthest edge from it is more than the first and less than the second.
        distances: from each point to left, top, right and bottom of its box, in strides.
        centreness: logits of how much each point is in the middle of its box.
        pictures_wh_px: width and height of each picture without padding.
    """

    centres_px: Float[Tensor, "points 2"]
    strides: Float[Tensor, " points"]
    ranges_px: Float[Tensor, "points 2"]
    distances: Float[Tensor, "batch points 4"]
    centreness: Float[Tensor, "batch points"]
    pictures_wh_px: Float[Tensor, "batch 2"]

    def boxes_xyxy_px(self) -> Float[Tensor, "batch points 4"]:
        """The boxes, in pixels of the padded input; they may reach over its edge."""
        distances = self.distances * self.strides[:, None]
        return torch.cat((self.centres_px - distances[..., :2], self.centres_px + distances[..., 2:]), dim=-1)


@dataclass(frozen=True)
class Suppression:
    """What a family that answers for one object many times does about it when answers are decoded (NMS).

    Args:
        iou: overlap above which the less sure of two boxes of a class is left out.
        candidates: answers of a picture that are looked at, the surest first.
        most: answers of a picture that are kept.
    """

    iou: float
    candidates: int
    most: int


@dataclass(frozen=True)
class SetPrediction:
    """A set of scored boxes from each supervised decoder layer; the last layer is the answer.

    Args:
        logits: class logits; with softmax the last class is no-object, with sigmoid there is one logit a class.
        boxes_cxcywh: boxes relative to the unpadded picture, 0 to 1.
        memory_logits: the same heads read on memory tokens (training with encoder supervision only), or None.
        memory_boxes_cxcywh: as above.
        memory_centres: where each memory token stands (x, y), relative to the unpadded picture; of pyramids only.
        memory: the encoder output the queries questioned.
        masks: reads masks of the last layer's queries; None for a model without a mask head.
        activation: what makes scores of logits.
        proposals: what the encoder proposed, for two-stage models.
        denoising: the denoising queries, while training.
        corners: edge distributions of the boxes, for models that have them.
        points: of a dense detector, whose every point is a query that stands still: where they stand.
        suppression: what is done about several answers for one object; None where a model needs nothing of the kind.
    """

    logits: Float[Tensor, "layers batch queries classes"]
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"]
    memory: Memory
    memory_logits: Float[Tensor, "batch tokens classes"] | None = None
    memory_boxes_cxcywh: Float[Tensor, "batch tokens 4"] | None = None
    memory_centres: Float[Tensor, "batch tokens 2"] | None = None
    masks: MaskReader | None = None
    activation: Literal["softmax", "sigmoid"] = "softmax"
    proposals: Proposals | None = None
    denoising: Denoising | None = None
    corners: Corners | None = None
    points: Points | None = None
    suppression: Suppression | None = None


@dataclass(frozen=True)
class ClassPrediction:
    """One answer a picture: what it shows.

    Args:
        logits: class logits; where there are two heads, their mean.
        features: what the head read.
        by_head: the logits of each head, the class token's first and the distillation token's second; empty where there
            is one head only.
        memory: the patches that were asked; None where nothing beyond the answer was computed.
    """

    logits: Float[Tensor, "batch classes"]
    features: Float[Tensor, "batch features"]
    memory: PatchMemory | None = None
    by_head: tuple[Float[Tensor, "batch classes"], ...] = ()


@dataclass(frozen=True)
class SemanticPrediction:
    """An answer for each patch: what it shows.

    Args:
        logits: class logits at each patch of the padded pictures.
        patch_size: side in pixels of what a cell of the logits stands for.
        memory: the patches that were asked.
    """

    logits: Float[Tensor, "batch classes rows columns"]
    patch_size: int
    memory: PatchMemory
