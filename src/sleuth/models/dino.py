"""DINO: a Deformable DETR that learns to denoise, and takes the places of its queries from the picture."""

from dataclasses import dataclass, fields
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.heads.scores import ScoreHead
from sleuth.models.deformable_detr import (
    DeformableDetr,
    DeformableDetrConfig,
    box_head,
    build_backbone,
    build_encoder,
    build_levels,
    decoder_layers,
)
from sleuth.nn.feedforward import MLP
from sleuth.nn.positions import SinePositions2d, sine_positions_of
from sleuth.nn.refining import RefiningDecoder
from sleuth.queries.denoising import ContrastiveDenoising
from sleuth.queries.placed import ProposedPlaces
from sleuth.queries.top_k import TopKSource

_EPS = 1e-3
"""How near to 0 and 1 boxes may come; a hundredth of Deformable DETR's logits."""


@dataclass(frozen=True)
class DinoConfig:
    """The numbers of a DINO.

    Args:
        backbone: resnet10, resnet18, resnet34, resnet50 or resnet101.
        num_classes: classes; 91 for COCO's own ids.
        num_queries: how many proposals become queries: the most objects in a picture.
        dim: embedding size of the transformer; a multiple of 32 and of num_heads.
        num_heads: attention heads.
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder, each of them supervised.
        feedforward_dim: hidden size of the feed-forward networks.
        dropout: in the transformer, while training.
        activation: relu, gelu or silu.
        temperature: of the sine positions of tokens.
        dilation: twice the resolution of the coarsest map, from a dilated last stage.
        frozen_norm: frozen batch norm in the backbone (published weights); False trains it (from scratch).
        backbone_width: channels of the first stage; 64 in the paper.
        backbone_levels: how many of the backbone's four maps become levels, the coarsest ones: 3 of 4 scales, 4 of 5.
        num_levels: levels of the pyramid, 4 or 5 in the paper.
        encoder_points: points that each head of the encoder looks at on each level.
        decoder_points: points of each head of the decoder.
        shared_class_head: all decoder layers share one class head.
        shared_box_head: all decoder layers share one box head.
        denoising_queries: about how many noised objects each picture is asked for while training; 0 for none.
        denoising_labels: classes that the table of noised labels has rows for; None takes ``num_classes``.
        label_noise: chance of a noised label, half of which is taken.
        box_noise: how far the edges of noised boxes move.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    num_classes: int = 91
    num_queries: int = 900
    dim: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 2048
    dropout: float = 0.0
    activation: Literal["relu", "gelu", "silu"] = "relu"
    temperature: float = 20.0
    dilation: bool = False
    frozen_norm: bool = True
    backbone_width: int = 64
    backbone_levels: int = 3
    num_levels: int = 4
    encoder_points: int = 4
    decoder_points: int = 4
    shared_class_head: bool = True
    shared_box_head: bool = True
    denoising_queries: int = 100
    denoising_labels: int | None = None
    label_noise: float = 0.5
    box_noise: float = 0.4

    def __post_init__(self) -> None:
        self.common()
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature} is not above 0")
        if self.denoising_queries < 0:
            raise ValueError(f"denoising_queries = {self.denoising_queries} is less than 0")
        if self.denoising_labels is not None and self.denoising_labels < self.num_classes:
            raise ValueError(
                f"denoising_labels = {self.denoising_labels} is less than num_classes = {self.num_classes}"
            )
        for name, most in (("label_noise", 2.0), ("box_noise", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} = {getattr(self, name)} is not between 0 and {most:g}")

    def common(self) -> DeformableDetrConfig:
        """The numbers of the parts that a DINO shares with Deformable DETR."""
        names = {field.name for field in fields(DeformableDetrConfig)} & {field.name for field in fields(self)}
        return DeformableDetrConfig(**{name: getattr(self, name) for name in names}, refine=True, two_stage=True)


class BoxPositions(nn.Module):
    """Positions of queries from their boxes: sines of y, x, width and height, then a perceptron.

    Args:
        dim: embedding size.

    Source: Liu et al. 2022, "DAB-DETR", section 4.2.
    """

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.mlp = MLP(in_dim=2 * dim, hidden_dim=dim, out_dim=dim, num_layers=2)

    def forward(self, boxes_cxcywh: Float[Tensor, "batch queries 4"]) -> Float[Tensor, "batch queries dim"]:
        """The position of each query."""
        return self.mlp(self.sines(boxes_cxcywh))

    def sines(self, boxes_cxcywh: Float[Tensor, "batch queries 4"]) -> Float[Tensor, "batch queries channels"]:
        """Half of ``dim`` channels for each of y, x, width and height."""
        first = self.mlp.layers[0]
        assert isinstance(first, nn.Linear)
        return sine_positions_of(boxes_cxcywh[..., [1, 0, 2, 3]], first.in_features // 4)


def build_dino(config: DinoConfig) -> DeformableDetr:
    """A DINO with fresh weights.

    Source: Zhang et al. 2023, "DINO: DETR with Improved DeNoising Anchor Boxes for End-to-End Object Detection".
    """
    common = config.common()
    backbone = build_backbone(common)
    class_heads = 1 if config.shared_class_head else config.decoder_layers
    box_heads = 1 if config.shared_box_head else config.decoder_layers
    source = TopKSource(
        dim=config.dim,
        num_queries=config.num_queries,
        class_head=ScoreHead(dim=config.dim, num_classes=config.num_classes),
        box_head=box_head(common),
        content="learned",
    )
    denoising = ContrastiveDenoising(
        num_classes=config.num_classes,
        dim=config.dim,
        num_queries=config.denoising_queries,
        label_noise=config.label_noise,
        box_noise=config.box_noise,
        eps=_EPS,
        rows=config.denoising_labels,
        blank=True,
    )
    return DeformableDetr(
        backbone=backbone,
        input_proj=build_levels(common, backbone),
        positions=SinePositions2d(dim=config.dim, temperature=config.temperature),
        encoder=build_encoder(common),
        queries=ProposedPlaces(source=source),
        decoder=RefiningDecoder(
            decoder_layers(common),
            box_heads=[box_head(common) for _ in range(box_heads)],
            position=BoxPositions(dim=config.dim),
            norm=nn.LayerNorm(config.dim),
            eps=_EPS,
        ),
        class_heads=[ScoreHead(dim=config.dim, num_classes=config.num_classes) for _ in range(class_heads)],
        denoising=denoising if config.denoising_queries else None,
    )
