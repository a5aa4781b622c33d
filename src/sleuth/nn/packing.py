"""Several pictures in one sequence: their tokens stand one after another, and a block mask keeps them apart.

A batch of pictures of different sizes is padded, so that every row is as long as the longest; or its pictures are
packed, so that short ones share a row. Each token looks at the tokens of its own picture in either case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.types.memory import TokenGrid


@dataclass(frozen=True)
class Packing:
    """Which picture stands where.

    Args:
        rows: of each picture, the row that it is in.
        starts: where in that row it begins.
        lengths: how many tokens it has.
        num_rows: rows of the batch.
        capacity: tokens of a row.
    """

    rows: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    num_rows: int
    capacity: int

    def pack(self, sequences: Sequence[Float[Tensor, "_ dim"]]) -> Float[Tensor, "rows capacity dim"]:
        """The tokens of all pictures in their places, zeros where there is none."""
        packed = sequences[0].new_zeros(self.num_rows, self.capacity, sequences[0].shape[-1])
        for sequence, row, start in zip(sequences, self.rows, self.starts, strict=True):
            packed[row, start : start + len(sequence)] = sequence
        return packed

    def unpack(self, packed: Float[Tensor, "rows capacity dim"]) -> list[Float[Tensor, "_ dim"]]:
        """The tokens of each picture."""
        places = zip(self.rows, self.starts, self.lengths, strict=True)
        return [packed[row, start : start + length] for row, start, length in places]

    def owners(self, device: torch.device | None = None) -> Int[Tensor, "rows capacity"]:
        """The number of the picture that a token belongs to; -1 where there is none."""
        owners = torch.full((self.num_rows, self.capacity), -1)
        for number, (row, start, length) in enumerate(zip(self.rows, self.starts, self.lengths, strict=True)):
            owners[row, start : start + length] = number
        return owners.to(device)

    def block_mask(
        self, device: torch.device | None = None, keys: "Packing | None" = None
    ) -> Bool[Tensor, "rows 1 capacity keys"]:
        """True where both tokens are of one picture.

        Args:
            device: of the mask.
            keys: how the tokens that are looked at lie, where they are others.
        """
        owners = self.owners(device)
        others = owners if keys is None else keys.owners(device)
        return ((owners[:, :, None] == others[:, None]) & (owners[:, :, None] >= 0))[:, None]

    def of_lengths(self, lengths: Sequence[int]) -> "Packing":
        """The same pictures in the same rows and order, each with another number of tokens.

        >>> plan_packing([3, 10, 6]).of_lengths([1, 4, 2]).starts
        (2, 0, 0)
        """
        filled, starts = [0] * self.num_rows, [0] * len(lengths)
        for number in sorted(range(len(lengths)), key=lambda at: self.starts[at]):
            row = self.rows[number]
            starts[number] = filled[row]
            filled[row] += lengths[number]
        return replace(self, starts=tuple(starts), lengths=tuple(lengths), capacity=max(filled))


@dataclass(frozen=True)
class PackedGrids:
    """Pictures in shared sequences, for attention that wants to know how the tokens of each lie.

    Args:
        packing: which picture stands where.
        grids: of each picture.
    """

    packing: Packing
    grids: tuple[TokenGrid, ...]


def plan_packing(lengths: Sequence[int], capacity: int | None = None) -> Packing:
    """Put sequences into as few rows as first fit, longest first, finds.

    Args:
        lengths: tokens of each picture.
        capacity: tokens that go into a row; by default the longest picture's, with which no row costs more than it
            would in a padded batch, and there are at most as many.

    Raises:
        ValueError: a picture is longer than a row.

    Source: Dehghani et al. 2023, "Patch n' Pack: NaViT", section 2.1.

    >>> plan_packing([3, 10, 6]).rows
    (1, 0, 1)
    """
    capacity = max(lengths) if capacity is None else capacity
    if max(lengths) > capacity:
        raise ValueError(f"a picture of {max(lengths)} tokens does not fit into rows of {capacity}")
    filled: list[int] = []
    places: dict[int, tuple[int, int]] = {}
    for number in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        fits = (row for row, used in enumerate(filled) if used + lengths[number] <= capacity)
        row = next(fits, len(filled))
        if row == len(filled):
            filled.append(0)
        places[number] = (row, filled[row])
        filled[row] += lengths[number]
    in_order = [places[number] for number in range(len(lengths))]
    return Packing(
        rows=tuple(row for row, _ in in_order),
        starts=tuple(start for _, start in in_order),
        lengths=tuple(lengths),
        num_rows=len(filled),
        capacity=capacity,
    )
