"""The vision Transformer: a picture is cut into patches, and the patches look at each other."""

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.nn.attention import padding_mask
from sleuth.nn.cores.neighbourhood import neighbourhood_mask
from sleuth.nn.grid_positions import LearnedGridPositions, NoGridPositions, SineGridPositions
from sleuth.nn.packing import PackedGrids, Packing, plan_packing
from sleuth.nn.patches import PatchEmbedding, grid_of, padded_to_patches
from sleuth.nn.rotary import Rotation, rotary_2d
from sleuth.nn.stem import ConvolutionalStem
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import PatchMemory, TokenGrid

Positions = LearnedGridPositions | SineGridPositions | NoGridPositions
Grid = tuple[int, int]


class VitBackbone(nn.Module):
    """Patches, tokens that go along with them, positions, blocks and a final norm.

    Pictures may have any size and shape of at least one patch. A side that is no multiple of the patch is padded with
    zeros (the mean colour) at the bottom or right; a patch that holds any of the picture takes part.

    Args:
        patches: cuts and embeds, or looks by convolutions.
        positions: of the grid, added once; rotations come on top of them in each block.
        blocks: as `PreNormBlock`, first to last.
        norm: after the last block; the identity where the norm comes after pooling.
        class_token: whether a class token goes along.
        distill_token: whether a distillation token does.
        registers: how many registers do.
        dropout: on the tokens before the first block.
        rotary_dim: channels of a head, if queries and keys are rotated by where they are; 0 if not.
        needs_grid: whether blocks want to know how the tokens lie.
        radius: of local attention, for packed pictures; 0 where attention is not local.

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; registers from Darcet et al. 2024; distillation
    token from Touvron et al. 2021.
    """

    def __init__(
        self,
        *,
        patches: PatchEmbedding | ConvolutionalStem,
        positions: Positions,
        blocks: Sequence[nn.Module],
        norm: nn.Module,
        class_token: bool = True,
        distill_token: bool = False,
        registers: int = 0,
        dropout: float = 0.0,
        rotary_dim: int = 0,
        needs_grid: bool = False,
        radius: int = 0,
    ) -> None:
        super().__init__()
        dim = patches.dim
        self.dim = dim
        self.patches = patches
        self.class_token = _token(1, dim) if class_token else None
        self.distill_token = _token(1, dim) if distill_token else None
        self.registers = _token(registers, dim) if registers else None
        self.num_prefix = class_token + distill_token + registers
        self.positions = positions
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.rotary_dim = rotary_dim
        self.needs_grid = needs_grid
        self.radius = radius

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.patches.patch_size

    def forward(self, images: ImageBatch) -> PatchMemory:
        """Look at pictures of one batch; padding is hidden.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        return self.layers(images, (len(self.blocks) - 1,))[-1]

    def first_tokens(self, images: ImageBatch, count: int) -> PatchMemory:
        """The states of the first tokens alone, without those of the patches; the last block does no more than that.

        Args:
            images: the pictures.
            count: how many of the tokens before the patches.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        tokens, grid_hw, sizes = self._embed(images)
        valid = _valid(sizes, grid_hw, self.num_prefix, tokens.device)
        rotation, attend = self._rotation(grid_hw, tokens), None if valid is None else padding_mask(valid)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens, attend, rotation)
        tokens = self.norm(last(tokens, attend, rotation, None, count))
        return PatchMemory(prefix=tokens, patches=tokens[:, :0], valid=None, grid_hw=grid_hw)

    def layers(self, images: ImageBatch, wanted: Collection[int]) -> list[PatchMemory]:
        """The same after some of the blocks, each with the final norm: features for dense prediction.

        Args:
            images: the pictures.
            wanted: numbers of blocks, counted from 0; the blocks after the last of them do not run.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        tokens, grid_hw, sizes = self._embed(images)
        valid = _valid(sizes, grid_hw, self.num_prefix, tokens.device)
        rotation = self._rotation(grid_hw, tokens)
        attend = None if valid is None else padding_mask(valid)
        grid = TokenGrid(*grid_hw, self.num_prefix) if self.needs_grid else None
        found = []
        for number, block in enumerate(self.blocks[: max(wanted) + 1]):
            tokens = block(tokens, attend, rotation, grid)
            if number in wanted:
                found.append(self._memory(self.norm(tokens), grid_hw, valid))
        return found

    def packed(self, pictures: Sequence[Float[Tensor, "channels _ _"]]) -> list[PatchMemory]:
        """Look at pictures of different sizes, packed into as few sequences as they fit in; the answers are the same.

        Args:
            pictures: normalised pixels, each of its own size.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        sequences, grids = [], []
        for pixels in pictures:
            batch = ImageBatch(pixels=pixels[None], valid=torch.ones_like(pixels[:1], dtype=torch.bool))
            tokens, grid_hw, _ = self._embed(batch)
            sequences.append(tokens[0])
            grids.append(grid_hw)
        packing = plan_packing([len(tokens) for tokens in sequences])
        states, rotation = packing.pack(sequences), self._packed_rotation(packing, grids, sequences[0])
        attend, grid = None, None
        if self.needs_grid and not self.radius:  # attention that reduces each grid by itself keeps them apart, too
            grid = PackedGrids(packing, tuple(TokenGrid(*grid_hw, self.num_prefix) for grid_hw in grids))
        else:
            attend = self._packed_mask(packing, grids, states.device)
        for block in self.blocks:
            states = block(states, attend, rotation, grid)
        each = packing.unpack(self.norm(states))
        return [self._memory(tokens[None], grid_hw, None) for tokens, grid_hw in zip(each, grids, strict=True)]

    def _embed(self, images: ImageBatch) -> tuple[Tensor, Grid, list[Grid]]:
        """Prefix and patches with their positions, the grid of the batch, and the grid of each picture."""
        sizes = [grid_of(size, self.patch_size) for size in self._sizes(images)]
        pixels = padded_to_patches(images.pixels, self.patch_size)
        grid_hw = (pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size)
        patches = self.patches(pixels)
        table = self._positions(sizes, grid_hw)
        with_position = self.positions.prefix
        patches = patches + table[:, with_position:].to(patches.dtype)
        prefix = self._prefix()
        if prefix is not None:
            places = F.pad(table[:1, :with_position], (0, 0, 0, self.num_prefix - with_position))
            prefix = (prefix + places).to(patches.dtype)
            patches = torch.cat((prefix.expand(len(patches), -1, -1), patches), dim=1)
        return self.dropout(patches), grid_hw, sizes

    def _prefix(self) -> Tensor | None:
        every = (self.class_token, self.distill_token, self.registers)
        tokens: list[Tensor] = [each for each in every if each is not None]
        return torch.cat(tokens, dim=1) if tokens else None

    def _sizes(self, images: ImageBatch) -> list[Grid]:
        """Height and width of each picture in pixels, without padding."""
        batch, _, height, width = images.pixels.shape
        # One question for the whole batch: asked of each picture, an accelerator would be waited for as often.
        if bool(images.valid.all()):
            sizes = [(height, width)] * batch
        else:
            sides = torch.stack((images.valid.any(2).sum(1), images.valid.any(1).sum(1)), dim=1)
            sizes = [(int(h), int(w)) for h, w in sides.tolist()]
        for number, (h, w) in enumerate(sizes):
            if min(h, w) < self.patch_size:
                what = f"a picture of {h}x{w} pixels is smaller than a patch of {self.patch_size}x{self.patch_size}"
                where = f"picture {number + 1} of {batch}" if batch > 1 else None
                raise UserError(what, where=where, mend="make the picture larger")
        return sizes

    def _positions(self, sizes: list[Grid], grid_hw: Grid) -> Tensor:
        """Positions of the prefix and the grid, one row for all pictures, or one for each where their grids differ."""
        tables = {size: self.positions(size) for size in dict.fromkeys(sizes)}
        if len(tables) == 1 and grid_hw in tables:
            return tables[grid_hw][None]
        prefix = self.positions.prefix
        laid = {}
        for (height, width), table in tables.items():
            cells = table[prefix:].unflatten(0, (height, width))
            cells = F.pad(cells, (0, 0, 0, grid_hw[1] - width, 0, grid_hw[0] - height)).flatten(0, 1)
            laid[height, width] = torch.cat((table[:prefix], cells))
        return torch.stack([laid[size] for size in sizes])

    def _rotation(self, grid_hw: Grid, like: Tensor) -> Rotation | None:
        if not self.rotary_dim:
            return None
        cos, sin = rotary_2d(grid_hw, self.rotary_dim, prefix=self.num_prefix).to(like)
        return Rotation(cos[None, None], sin[None, None])

    def _packed_rotation(self, packing: Packing, grids: Sequence[Grid], like: Tensor) -> Rotation | None:
        if not self.rotary_dim:
            return None
        each = [rotary_2d(grid_hw, self.rotary_dim, prefix=self.num_prefix).to(like) for grid_hw in grids]
        cos, sin = (packing.pack([angles[part] for angles in each])[:, None] for part in (0, 1))
        return Rotation(cos, sin)

    def _packed_mask(self, packing: Packing, grids: Sequence[Grid], device: torch.device) -> Tensor | None:
        """Each picture for itself, and within it the neighbourhood where attention is local."""
        if not self.radius:
            # Where each picture fills a row, there is nobody to be kept apart from.
            return None if set(packing.lengths) == {packing.capacity} else packing.block_mask(device)
        mask = torch.zeros(packing.num_rows, 1, packing.capacity, packing.capacity, dtype=torch.bool, device=device)
        for row, start, length, grid_hw in zip(packing.rows, packing.starts, packing.lengths, grids, strict=True):
            own = slice(start, start + length)
            mask[row, 0, own, own] = neighbourhood_mask(TokenGrid(*grid_hw, self.num_prefix), self.radius, device)[0, 0]
        return mask

    def _memory(self, tokens: Tensor, grid_hw: Grid, valid: Tensor | None) -> PatchMemory:
        return PatchMemory(
            prefix=tokens[:, : self.num_prefix],
            patches=tokens[:, self.num_prefix :],
            valid=None if valid is None else valid[:, self.num_prefix :],
            grid_hw=grid_hw,
        )


def _token(count: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(1, count, dim).normal_(std=0.02))


def _valid(sizes: list[Grid], grid_hw: Grid, prefix: int, device: torch.device) -> Tensor | None:
    """True on the prefix and on each picture's own patches; None where these are all that there are."""
    if all(size == grid_hw for size in sizes):
        return None
    valid = torch.zeros(len(sizes), *grid_hw, dtype=torch.bool)
    for row, (height, width) in enumerate(sizes):
        valid[row, :height, :width] = True
    return F.pad(valid.flatten(1), (prefix, 0), value=True).to(device)
