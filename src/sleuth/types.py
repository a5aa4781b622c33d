"""The nouns that every model, loss and task speaks: images, memory, queries, states, predictions, targets.

All masks have one polarity: True takes part (``valid``), as in PyTorch's fused attention.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class ImageBatch:
    """Normalised pictures, zero-padded at the bottom and right to one size.

    Args:
        pixels: normalised pixels, zero where padded.
        valid: True on the picture, False on padding.
    """

    pixels: Float[Tensor, "batch channels height width"]
    valid: Bool[Tensor, "batch height width"]

    def to(self, device: torch.device | str) -> "ImageBatch":
        """The same batch on another device."""
        return replace(
            self,
            pixels=self.pixels.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class TextBatch:
    """Pairs of sentences as token ids, padded at the right; the target twice, one step apart.

    Args:
        source: ids of the source sentences, EOS included.
        source_valid: True on tokens, False on padding.
        target_in: what the decoder is given: the start token and all target tokens but the last.
        target_out: what it is to say at each of those places: the target tokens, EOS last.
        target_valid: True on tokens of the target, False on padding.
        names: each pair's file and line, or number: errors and skipped steps name it.
    """

    source: Int[Tensor, "batch source_words"]
    source_valid: Bool[Tensor, "batch source_words"]
    target_in: Int[Tensor, "batch target_words"]
    target_out: Int[Tensor, "batch target_words"]
    target_valid: Bool[Tensor, "batch target_words"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "TextBatch":
        """The same batch on another device."""
        return replace(
            self,
            source=self.source.to(device, non_blocking=True),
            source_valid=self.source_valid.to(device, non_blocking=True),
            target_in=self.target_in.to(device, non_blocking=True),
            target_out=self.target_out.to(device, non_blocking=True),
            target_valid=self.target_valid.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class ClassBatch:
    """Pictures with what they show.

    Args:
        images: the pictures.
        labels: the class of each; where two were mixed, that of the larger share.
        wanted: the share of each class, where pictures were mixed; None where each is of its class alone.
        names: each picture's file or number: errors and skipped steps name it.
    """

    images: ImageBatch
    labels: Int[Tensor, " batch"]
    wanted: Float[Tensor, "batch classes"] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "ClassBatch":
        """The same batch on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device, non_blocking=True),
            wanted=None if self.wanted is None else self.wanted.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Memory:
    """What the queries question: the encoded picture as a sequence of tokens.

    Args:
        tokens: encoder output, row-major over the grid (and level after level, if several).
        pos: position embedding of each token, added to keys in cross-attention.
        valid: True on tokens of the picture; None where there is no padding at all.
        grids_hw: (height, width) of each feature level; tokens = sum of height * width.
        input_hw: height and width in pixels of the padded input that the memory is of.
        pyramid: feature maps for heads that want finer detail than tokens: the backbone's stages from fine to coarse,
            and last the projected map that became the tokens. Empty where no head asks for it.
    """

    tokens: Float[Tensor, "batch tokens dim"]
    pos: Float[Tensor, "batch tokens dim"]
    valid: Bool[Tensor, "batch tokens"] | None
    grids_hw: tuple[tuple[int, int], ...]
    input_hw: tuple[int, int] = (0, 0)
    pyramid: tuple[Float[Tensor, "batch _ _ _"], ...] = ()


class TokenGrid(NamedTuple):
    """How a sequence of tokens lies in a picture: some that lie nowhere first, then row after row.

    Args:
        height: rows.
        width: columns.
        prefix: leading tokens that are no part of the grid: class token, registers.
    """

    height: int
    width: int
    prefix: int = 0


@dataclass(frozen=True)
class PatchMemory:
    """A picture as patches that have looked at each other, and the tokens that went along with them.

    Args:
        prefix: states of the class token, the distillation token and the registers, as far as there are any.
        patches: states of the patches, row by row.
        valid: True on patches of the picture; None where there is no padding at all.
        grid_hw: rows and columns of patches.
    """

    prefix: Float[Tensor, "batch prefix dim"]
    patches: Float[Tensor, "batch tokens dim"]
    valid: Bool[Tensor, "batch tokens"] | None
    grid_hw: tuple[int, int]


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
class SemanticBatch:
    """Pictures with the class of each of their pixels.

    Args:
        images: the pictures.
        labels: the class of each pixel, and 255 where nobody has said, or where there is no picture.
        names: each picture's file or number: errors and skipped steps name it.
    """

    images: ImageBatch
    labels: UInt8[Tensor, "batch height width"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "SemanticBatch":
        """The same batch on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device, non_blocking=True))


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
class Target:
    """The objects of one picture, as the losses want them.

    Args:
        labels: contiguous class ids, 0 to classes - 1.
        boxes_cxcywh: boxes relative to the (transformed, unpadded) picture, 0 to 1.
        name: the picture's file name or scene number: errors and skipped steps name it.
        image_id: the picture's id in its data set.
        size_hw: size of the picture in pixels before any transform.
        masks: the visible pixels of each object, at the size of the (transformed, unpadded) picture; None where the
            data has boxes only.
    """

    labels: Int[Tensor, " objects"]
    boxes_cxcywh: Float[Tensor, "objects 4"]
    name: str = ""
    image_id: int = 0
    size_hw: tuple[int, int] = (1, 1)
    masks: Bool[Tensor, "objects height width"] | None = None

    def to(self, device: torch.device | str) -> "Target":
        """The same target on another device."""
        return replace(
            self,
            labels=self.labels.to(device),
            boxes_cxcywh=self.boxes_cxcywh.to(device),
            masks=None if self.masks is None else self.masks.to(device),
        )


@dataclass(frozen=True)
class TextMemory:
    """What the words to come question: the encoded source sentences.

    Args:
        tokens: encoder output.
        valid: True on words, False on padding; None where there is no padding at all.
    """

    tokens: Float[Tensor, "batch tokens dim"]
    valid: Bool[Tensor, "batch tokens"] | None


@dataclass(frozen=True)
class TokenPrediction:
    """What the next word may be, at every position of the target or at those that were asked for.

    Args:
        logits: of the vocabulary: [batch, words, vocabulary], or [asked, vocabulary].
        memory: the encoder output that was questioned.
    """

    logits: Float[Tensor, "*where vocabulary"]
    memory: TextMemory


Losses = Mapping[str, Tensor]
"""Named scalar losses, unweighted."""
