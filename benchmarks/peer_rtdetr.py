"""Hugging Face's RT-DETRv2 as a peer: of any size, from scratch, and set right where it trains unlike the paper.

Three things, each told in the results, that keep version 5.x from learning as the original does:

- fresh batch norms get weights near 0 (a normal distribution of 0.01), so that little passes a backbone that is trained
  from scratch; they start at 1 here;
- until September 2026 the last layer's loss saw the denoising queries too, which the matcher preferred
  (transformers pull request 48528); they are cut off here if the installed version does not do so itself;
- each layer's box should also teach the layer before it ("look forward twice"; Zhang et al. 2022, section 3.5), but the
  gradient stops at every layer; it passes here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection
from transformers.loss.loss_rt_detr import RTDetrForObjectDetectionLoss


@dataclass(frozen=True)
class RtDetrSize:
    """Numbers of a small RT-DETRv2; with three classes the defaults make 1.9 million parameters.

    Args:
        stem: channels of the backbone's stem.
        widths: channels of its four stages.
        depths: blocks of its four stages.
        block: basic or bottleneck.
        dim: width of encoder and decoder.
        num_heads: attention heads.
        feedforward_dim: hidden width of their feed-forward parts.
        expansion: hidden width of the encoder's convolution blocks, relative to ``dim``.
        encoder_layers: attention layers on the coarsest level.
        decoder_layers: layers of the decoder.
        num_queries: objects that can be found.
        num_points: points sampled on each level by each head.
        num_denoising: about how many denoising queries join while training.
        frozen_norm: frozen batch norm in the backbone, for published weights.
    """

    stem: int = 16
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    block: str = "basic"
    dim: int = 96
    num_heads: int = 6
    feedforward_dim: int = 256
    expansion: float = 0.5
    encoder_layers: int = 1
    decoder_layers: int = 3
    num_queries: int = 100
    num_points: int = 4
    num_denoising: int = 100
    frozen_norm: bool = False


def build_rtdetr(size: RtDetrSize, num_classes: int, *, as_shipped: bool = False) -> RTDetrV2ForObjectDetection:
    """A fresh RT-DETRv2, every parameter trained.

    Args:
        size: its numbers.
        num_classes: classes of the data.
        as_shipped: leave fresh batch norms and the loss as Hugging Face has them.
    """
    backbone = RTDetrResNetConfig(
        embedding_size=size.stem,
        hidden_sizes=list(size.widths),
        depths=list(size.depths),
        layer_type=size.block,
        out_indices=[2, 3, 4],
    )
    peer = RTDetrV2ForObjectDetection(
        RTDetrV2Config(
            backbone_config=backbone,
            freeze_backbone_batch_norms=size.frozen_norm,
            num_labels=num_classes,
            encoder_in_channels=list(size.widths[1:]),
            encoder_hidden_dim=size.dim,
            decoder_in_channels=[size.dim] * 3,
            d_model=size.dim,
            encoder_attention_heads=size.num_heads,
            decoder_attention_heads=size.num_heads,
            encoder_ffn_dim=size.feedforward_dim,
            decoder_ffn_dim=size.feedforward_dim,
            hidden_expansion=size.expansion,
            encoder_layers=size.encoder_layers,
            decoder_layers=size.decoder_layers,
            num_queries=size.num_queries,
            decoder_n_points=size.num_points,
            num_denoising=size.num_denoising,
            # As in the original; the default, 1 / (classes + 1), suits many classes only.
            initializer_bias_prior_prob=0.01,
        )
    )
    if not as_shipped:
        for module in peer.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
        peer.loss_function = paper_loss
    return peer


def paper_loss(
    logits: Tensor,
    labels: list[dict[str, Tensor]],
    device: torch.device,
    pred_boxes: Tensor,
    config: RTDetrV2Config,
    outputs_class: Tensor,
    outputs_coord: Tensor,
    *,
    denoising_meta_values: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[Tensor, dict[str, Tensor], Any]:
    """Hugging Face's loss, given what the original would give it."""
    outputs_coord = look_forward_twice(outputs_coord)
    logits, pred_boxes = outputs_class[:, -1], outputs_coord[:, -1]
    if denoising_meta_values is not None and not drops_denoising():
        logits = logits.split(denoising_meta_values["dn_num_split"], dim=1)[1]
        pred_boxes = pred_boxes.split(denoising_meta_values["dn_num_split"], dim=1)[1]
    return RTDetrForObjectDetectionLoss(
        logits,
        labels,
        device,
        pred_boxes,
        config,
        outputs_class,
        outputs_coord,
        denoising_meta_values=denoising_meta_values,
        **more,
    )


def look_forward_twice(boxes: Tensor) -> Tensor:
    """The same boxes [batch, layers, queries, 4], whose gradient also reaches the layer before each."""
    unbound = torch.logit(boxes, eps=1e-5)
    before = unbound[:, :-1]
    passed = unbound[:, 1:] + before - before.detach()
    return torch.cat([boxes[:, :1], passed.sigmoid()], dim=1)


def drops_denoising(loss: Callable[..., Any] = RTDetrForObjectDetectionLoss) -> bool:
    """Whether the installed loss of the last layer leaves the denoising queries out, seen by what it does."""
    config = RTDetrV2Config(num_labels=1)
    target = [{"class_labels": torch.zeros(1, dtype=torch.int64), "boxes": torch.full((1, 4), 0.5)}]
    # Two denoising queries, a positive and a negative one, and a normal query.
    meta = {"dn_positive_idx": (torch.zeros(1, dtype=torch.int64),), "dn_num_group": 1, "dn_num_split": [2, 1]}
    every, boxes = torch.zeros(1, 2, 3, 1), torch.full((1, 2, 3, 4), 0.25)
    loud = every[:, -1].clone()
    loud[:, :2] = 5.0
    totals = []
    for last in (every[:, -1], loud):
        shared = {"enc_topk_logits": every[:, 0, :1], "enc_topk_bboxes": boxes[:, 0, :1], "denoising_meta_values": meta}
        totals.append(loss(last, target, "cpu", boxes[:, -1], config, every, boxes, **shared)[0].item())
    return totals[0] == totals[1]
