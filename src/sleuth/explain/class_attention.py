"""What a vision Transformer looked at for its answer: the attention of its class token on the patches.

Attention shows where information was taken from, not what was made of it: it is a hint, not a proof.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.explain.record import record_attention
from sleuth.models.vit import VisionTransformer
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import ClassPrediction


@dataclass(frozen=True, eq=False)
class ClassAttention:
    """Where the answer of one picture came from.

    Args:
        layers: how much the class token looked at each patch, in every block and head; without a class token, how much
            all patches together did. What is missing to 1 went to the tokens before the patches.
        rollout: the same through all blocks at once: what each patch's own pixels contribute, by attention alone, where
            each block passes on half of what it is given. It sums to one.

    Source of rollout: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3.
    """

    layers: Float[Tensor, "blocks heads rows columns"]
    rollout: Float[Tensor, "rows columns"]

    @property
    def last(self) -> Float[Tensor, "rows columns"]:
        """The last block's, as the mean over its heads."""
        return self.layers[-1].mean(dim=0)

    def best_patches(self, count: int) -> list[tuple[int, int]]:
        """Row and column of the patches that contribute most by rollout, the first most of all."""
        columns = self.rollout.shape[1]
        best = self.rollout.flatten().topk(min(count, self.rollout.numel())).indices.tolist()
        return [divmod(place, columns) for place in best]


@torch.no_grad()
def look_at_patches(model: VisionTransformer, images: ImageBatch) -> tuple[ClassPrediction, list[ClassAttention]]:
    """Answer for a batch, and say which patches each answer came from.

    Args:
        model: in evaluation mode.
        images: pictures of one size: none is padded.

    Raises:
        ValueError: a picture is padded, or its attention has no weights over all tokens.
    """
    if not bool(images.valid.all()):
        raise ValueError("patches of padded pictures are not told: give pictures of one size")
    with record_attention(model) as maps:
        memory = model.backbone(images)
        prediction = model.answer(memory)
    prefix = memory.prefix.shape[1]
    tokens = prefix + memory.patches.shape[1]
    weights = torch.stack(list(maps.dense.values()))
    if weights.shape[-2:] != (tokens, tokens):
        raise ValueError(f"attention of shape {list(weights.shape)} is not one of {tokens} tokens with each other")
    rows, columns = memory.grid_hw
    asked = weights[..., 0, :] if model.pooling.pool == "class" else weights[..., prefix:, :].mean(dim=-2)
    layers = asked[..., prefix:].reshape(*asked.shape[:3], rows, columns)
    flow = _rollout(weights.mean(dim=2))
    source = flow[:, 0] if model.pooling.pool == "class" else flow[:, prefix:].mean(dim=1)
    patches = source[:, prefix:]
    shares = (patches / patches.sum(dim=1, keepdim=True)).reshape(-1, rows, columns)
    return prediction, [ClassAttention(layers[:, number], share) for number, share in enumerate(shares)]


def _rollout(weights: Float[Tensor, "blocks batch tokens tokens"]) -> Float[Tensor, "batch tokens tokens"]:
    """The product of all blocks' attention, each mixed half and half with what passes it by."""
    own = torch.eye(weights.shape[-1], device=weights.device)
    flow = own.expand(weights.shape[1:])
    for block in weights:
        flow = (0.5 * block + 0.5 * own) @ flow
    return flow
