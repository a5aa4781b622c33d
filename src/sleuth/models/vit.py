"""ViT: patches are words, and a class token asks them what the picture shows.

The class token is the one query. It does not wait for a decoder, but goes through the encoder with the patches that it
questions; its last state is the answer, read by one linear head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.backbones.vit import Positions, VitBackbone
from sleuth.heads.pooling import Pooling
from sleuth.nn.attention import AttentionCore, SelfAttention, fused_attention
from sleuth.nn.blocks import PreNormBlock
from sleuth.nn.cores.linear import LinearAttention
from sleuth.nn.cores.neighbourhood import NeighbourhoodAttention
from sleuth.nn.cores.reduction import ReducedAttention
from sleuth.nn.cores.sigmoid import SigmoidAttention
from sleuth.nn.drop_path import drop_path_shares
from sleuth.nn.feedforward import Activation, FeedForward, GatedFeedForward, gelu_of_own, gelu_tanh
from sleuth.nn.grid_positions import LearnedGridPositions, NoGridPositions, SineGridPositions
from sleuth.nn.patches import PatchEmbedding
from sleuth.nn.stem import ConvolutionalStem
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import PatchMemory
from sleuth.types.predictions import ClassPrediction

_ACTIVATIONS: dict[str, Activation] = {"gelu": gelu_of_own, "gelu_tanh": gelu_tanh, "relu": F.relu, "silu": F.silu}


@dataclass(frozen=True)
class VitConfig:
    """The numbers of a vision Transformer.

    Args:
        image_hw: height and width in pixels for which positions are learned; it takes pictures of any other size, too.
        patch_size: side of a patch in pixels.
        num_classes: classes; 0 for a model without a head, whose logits are its features.
        dim: embedding size; a multiple of num_heads.
        depth: blocks.
        num_heads: attention heads.
        feedforward_dim: hidden size of the feed-forward networks.
        feedforward: mlp, or swiglu (gated).
        activation: of the mlp: gelu, gelu_tanh (its formula with tanh), relu or silu.
        pool: class (the class token), mean (of the patches) or class+mean (both, side by side).
        norm_after_pool: the final norm is of the pooled vector rather than of every token.
        pooler: a last layer with tanh before the head, as BERT has it.
        class_token: whether there is a class token.
        distillation: none; token (a distillation token goes along); head (it has a head of its own, and the answer is
            the mean of both).
        registers: tokens that go along and are thrown away.
        positions: learned, sine (2-D), rotary (2-D, in each block) or none.
        prefix_positions: how many of the tokens before the patches have learned positions, too.
        resizing: how learned positions become those of other sizes: antialiased (timm), plain (Hugging Face) or offset
            (DINOv2); as it was trained.
        attention: softmax, sigmoid, linear, local (windows) or reduced (coarser keys).
        radius: rows and columns to either side that local attention looks at.
        reduction: side of the squares of patches that become one key in reduced attention.
        layer_scale: start of the learned scale of each branch; None for none.
        qkv_bias: whether queries, keys and values have biases.
        norm_eps: added to the variance in layer norms.
        dropout: on tokens and on both branches of each block, while training.
        attention_dropout: on attention weights, while training.
        drop_path: share of pictures for which the last block's branches are left out while training; those before it
            have less.
        stem: patch (one linear map for each patch), or convolutions, each of which halves the sides; then patch_size
            is a power of two.
        stem_dim: channels of the first of these convolutions.
        stem_depth: convolutions at each size, of which the first halves the sides.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    image_hw: tuple[int, int] = (224, 224)
    patch_size: int = 16
    num_classes: int = 1000
    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    feedforward_dim: int = 3072
    feedforward: Literal["mlp", "swiglu"] = "mlp"
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    pool: Literal["class", "mean", "class+mean"] = "class"
    norm_after_pool: bool = False
    pooler: bool = False
    class_token: bool = True
    distillation: Literal["none", "token", "head"] = "none"
    registers: int = 0
    positions: Literal["learned", "sine", "rotary", "none"] = "learned"
    prefix_positions: int = 1
    resizing: Literal["antialiased", "plain", "offset"] = "antialiased"
    attention: Literal["softmax", "sigmoid", "linear", "local", "reduced"] = "softmax"
    radius: int = 3
    reduction: int = 2
    layer_scale: float | None = None
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    stem: Literal["patch", "convolutions"] = "patch"
    stem_dim: int = 32
    stem_depth: int = 1

    @property
    def num_prefix(self) -> int:
        """Tokens before the patches."""
        return self.class_token + (self.distillation != "none") + self.registers

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the patches for which positions are learned."""
        return self.image_hw[0] // self.patch_size, self.image_hw[1] // self.patch_size

    def __post_init__(self) -> None:
        for name, kind in type(self).__annotations__.items():
            known = get_args(kind)
            if known and isinstance(known[0], str) and getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(map(str, known))}")
        least = {name: 1 for name, kind in type(self).__annotations__.items() if kind is int}
        least |= {"num_classes": 0, "registers": 0, "prefix_positions": 0}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"{name} = {getattr(self, name)} is less than {limit}")
        if len(self.image_hw) != 2 or min(self.image_hw) < self.patch_size:
            raise ValueError(f"image_hw = {self.image_hw} is not two sides of at least patch_size = {self.patch_size}")
        if self.dim % self.num_heads:
            raise ValueError(f"dim = {self.dim} is not a multiple of num_heads = {self.num_heads}")
        if self.positions == "rotary" and self.dim // self.num_heads % 4:
            raise ValueError(
                f"positions = 'rotary' wants heads of a multiple of 4 channels, not dim / num_heads = "
                f"{self.dim // self.num_heads}"
            )
        if self.positions == "sine" and self.dim % 4:
            raise ValueError(f"positions = 'sine' wants a dim that is a multiple of 4, not {self.dim}")
        if self.positions == "learned" and self.prefix_positions > self.num_prefix:
            raise ValueError(f"prefix_positions = {self.prefix_positions}, but there are {self.num_prefix} such tokens")
        if self.pool != "mean" and not self.class_token:
            raise ValueError(f"pool = {self.pool!r} wants a class token")
        if self.distillation == "head" and (self.pool != "class" or self.pooler or not self.num_classes):
            raise ValueError("distillation = 'head' wants pool = 'class', classes, and no pooler")
        if self.distillation != "none" and not self.class_token:
            raise ValueError(f"distillation = {self.distillation!r} wants a class token")
        for name in ("dropout", "attention_dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 1")
        if not self.norm_eps > 0:
            raise ValueError(f"norm_eps = {self.norm_eps} is not above 0")
        if self.stem == "convolutions" and (self.patch_size < 2 or self.patch_size & (self.patch_size - 1)):
            raise ValueError(f"stem = 'convolutions' wants a patch_size of 2, 4, 8 and so on, not {self.patch_size}")
        self._check_attention()

    def _check_attention(self) -> None:
        if self.attention == "linear" and self.attention_dropout:
            raise ValueError("attention = 'linear' has no weights to drop: set attention_dropout = 0")
        if self.attention == "reduced" and (self.positions == "rotary" or not self.qkv_bias):
            raise ValueError("attention = 'reduced' goes with neither positions = 'rotary' nor qkv_bias = false")


class VisionTransformer(nn.Module):
    """Backbone, pooling, head.

    Args:
        backbone: pictures to states of tokens.
        pooling: states of tokens to one vector.
        head: that vector to class logits; the identity where there are no classes.
        distill_head: from the distillation token's state to class logits, or None.

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; Touvron et al. 2021, "Training data-efficient
    image transformers & distillation through attention".
    """

    def __init__(
        self,
        *,
        backbone: VitBackbone,
        pooling: Pooling,
        head: nn.Module,
        distill_head: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.head = head
        self.distill_head = distill_head

    def forward(self, images: ImageBatch) -> ClassPrediction:
        """Say what each picture shows.

        Where the heads read nothing but tokens before the patches, the last block works on these alone, which changes
        nothing in the answer; then its ``memory`` is None. ``answer(backbone(images))`` has the patches, too.

        Args:
            images: pictures of any sizes, padded into one batch.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        read = self.tokens_read()
        if read is None:
            return self.answer(self.backbone(images))
        return replace(self.answer(self.backbone.first_tokens(images, read)), memory=None)

    def tokens_read(self) -> int | None:
        """How many of the first tokens the heads read; None where they read patches, or attention needs all of them."""
        if self.pooling.pool != "class" or self.backbone.needs_grid:
            return None
        return 1 if self.distill_head is None else 2

    def answer(self, memory: PatchMemory) -> ClassPrediction:
        """Read the answer off the states of a picture's tokens."""
        features = self.pooling(memory)
        logits = self.head(features)
        if self.distill_head is None:
            return ClassPrediction(logits=logits, features=features, memory=memory)
        both = (logits, self.distill_head(memory.prefix[:, 1]))
        return ClassPrediction(logits=(both[0] + both[1]) / 2, features=features, memory=memory, by_head=both)

    def answer_packed(self, pictures: Sequence[Float[Tensor, "channels _ _"]]) -> list[ClassPrediction]:
        """The same for pictures of different sizes that are packed into few sequences rather than padded.

        Args:
            pictures: normalised pixels, each of its own size.

        Returns:
            A prediction for each picture, as if it were a batch of its own.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        return [self.answer(memory) for memory in self.backbone.packed(pictures)]


def build_vit(config: VitConfig) -> VisionTransformer:
    """A vision Transformer with fresh weights."""
    backbone = build_vit_backbone(config)
    features = config.dim * (2 if config.pool == "class+mean" else 1)
    pooling = Pooling(
        pool=config.pool,
        norm=nn.LayerNorm(features, eps=config.norm_eps) if config.norm_after_pool else nn.Identity(),
        projection=nn.Linear(features, features) if config.pooler else None,
    )
    model = VisionTransformer(
        backbone=backbone,
        pooling=pooling,
        head=nn.Linear(features, config.num_classes) if config.num_classes else nn.Identity(),
        distill_head=nn.Linear(config.dim, config.num_classes) if config.distillation == "head" else None,
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def build_vit_backbone(config: VitConfig) -> VitBackbone:
    """The part of it that reads pixels, for models of other tasks."""
    attention = _attention(config)
    blocks = [
        PreNormBlock(
            dim=config.dim,
            attention=attention(),
            feedforward=_feedforward(config),
            norm_eps=config.norm_eps,
            layer_scale=config.layer_scale,
            drop_path=share,
            dropout=config.dropout,
        )
        for share in drop_path_shares(config.drop_path, config.depth)
    ]
    return VitBackbone(
        patches=_patches(config),
        positions=_positions(config),
        blocks=blocks,
        norm=nn.Identity() if config.norm_after_pool else nn.LayerNorm(config.dim, eps=config.norm_eps),
        class_token=config.class_token,
        distill_token=config.distillation != "none",
        registers=config.registers,
        dropout=config.dropout,
        rotary_dim=config.dim // config.num_heads if config.positions == "rotary" else 0,
        needs_grid=config.attention in ("local", "reduced"),
        radius=config.radius if config.attention == "local" else 0,
    )


def _patches(config: VitConfig) -> PatchEmbedding | ConvolutionalStem:
    if config.stem == "convolutions":
        return ConvolutionalStem(
            dim=config.dim, patch_size=config.patch_size, width=config.stem_dim, depth=config.stem_depth
        )
    return PatchEmbedding(dim=config.dim, patch_size=config.patch_size)


def _attention(config: VitConfig) -> Callable[[], nn.Module]:
    """What makes the attention of a block."""
    if config.attention == "reduced":
        return lambda: ReducedAttention(
            dim=config.dim,
            num_heads=config.num_heads,
            ratio=config.reduction,
            dropout=config.attention_dropout,
            norm_eps=config.norm_eps,
        )
    cores: dict[str, AttentionCore] = {
        "softmax": fused_attention,
        "sigmoid": SigmoidAttention(),
        "linear": LinearAttention(),
        "local": NeighbourhoodAttention(config.radius),
    }
    return lambda: SelfAttention(
        dim=config.dim,
        num_heads=config.num_heads,
        core=cores[config.attention],
        dropout=config.attention_dropout,
        bias=config.qkv_bias,
    )


def _feedforward(config: VitConfig) -> nn.Module:
    if config.feedforward == "swiglu":
        return GatedFeedForward(dim=config.dim, hidden_dim=config.feedforward_dim, dropout=config.dropout)
    activation = _ACTIVATIONS[config.activation]
    return FeedForward(dim=config.dim, hidden_dim=config.feedforward_dim, dropout=config.dropout, activation=activation)


def _positions(config: VitConfig) -> Positions:
    if config.positions == "learned":
        return LearnedGridPositions(
            grid_hw=config.grid_hw, dim=config.dim, prefix=config.prefix_positions, resizing=config.resizing
        )
    return SineGridPositions(dim=config.dim) if config.positions == "sine" else NoGridPositions(dim=config.dim)
