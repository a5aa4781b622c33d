"""From the patches of a picture to class logits at every patch: directly, or by class queries that question them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.attention import padding_mask
from sleuth.types.memory import PatchMemory


class LinearSemanticHead(nn.Module):
    """One linear layer on the state of each patch: a convolution of 1x1.

    Source: Strudel et al. 2021, section 3.2 (the linear decoder).
    """

    def __init__(self, *, dim: int, num_classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(dim, num_classes)

    def forward(self, memory: PatchMemory) -> Float[Tensor, "batch classes rows columns"]:
        """Logits of the classes at each patch."""
        return self.classes(memory.patches).transpose(1, 2).unflatten(2, memory.grid_hw)


class MaskTransformerHead(nn.Module):
    """A query for each class goes through a few blocks with the patches, and then claims patches by likeness.

    Logits are cosines between patches and classes, normalised over the classes of each patch.

    Args:
        dim: size of a token.
        num_classes: classes, each with a query.
        blocks: as `PreNormBlock`.
        norm_eps: added to the variance in layer norms.

    Source: Strudel et al. 2021, "Segmenter: Transformer for Semantic Segmentation", section 3.2 (the mask Transformer).
    """

    def __init__(self, *, dim: int, num_classes: int, blocks: Sequence[nn.Module], norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(1, num_classes, dim))
        self.project = nn.Linear(dim, dim)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.patch_projection = nn.Linear(dim, dim, bias=False)
        self.class_projection = nn.Linear(dim, dim, bias=False)
        self.mask_norm = nn.LayerNorm(num_classes, eps=norm_eps)
        nn.init.trunc_normal_(self.queries, std=0.02)

    def forward(self, memory: PatchMemory) -> Float[Tensor, "batch classes rows columns"]:
        """Logits of the classes at each patch; padding is hidden from the queries."""
        classes, patches = self.states(memory)
        classes = F.normalize(self.class_projection(classes), dim=-1)
        patches = F.normalize(self.patch_projection(patches), dim=-1)
        return self.mask_norm(patches @ classes.transpose(1, 2)).transpose(1, 2).unflatten(2, memory.grid_hw)

    def states(
        self, memory: PatchMemory
    ) -> tuple[Float[Tensor, "batch classes dim"], Float[Tensor, "batch patches dim"]]:
        """States of the class queries and of the patches after they have looked at each other."""
        queries = self.queries.expand(len(memory.patches), -1, -1)
        tokens = self.project(memory.patches)
        tokens = torch.cat((queries.to(tokens.dtype), tokens), dim=1)
        number = queries.shape[1]
        attend = None if memory.valid is None else padding_mask(F.pad(memory.valid, (number, 0), value=True))
        for block in self.blocks:
            tokens = block(tokens, attend)
        tokens = self.norm(tokens)
        return tokens[:, :number], tokens[:, number:]
