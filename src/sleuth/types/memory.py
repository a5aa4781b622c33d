"""What queries question: an encoded picture as a sequence of tokens, and how these lie in it."""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


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
