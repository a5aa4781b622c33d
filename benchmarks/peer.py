"""Hugging Face's DETR as a peer: built without a download, given our weights, checked to answer alike."""

from typing import Any

import torch
from torch import Tensor
from transformers import DetrConfig as PeerConfig
from transformers import DetrForObjectDetection

from sleuth.backbones.resnet import FrozenBatchNorm2d
from sleuth.models.detr import Detr, DetrConfig
from sleuth.nn.attention import MultiHeadAttention
from sleuth.types.batches import ImageBatch, Target
from sleuth.weights.maps.detr_huggingface import detr_huggingface

PEER_KEYS = detr_huggingface(backbone="timm", layout="v5")


def build_peer(
    config: DetrConfig, *, supervise_all_layers: bool, timm_name: str | None = None
) -> DetrForObjectDetection:
    """Hugging Face's DETR of the same size, with random weights and its default backbone (timm, frozen batch norm).

    Args:
        config: ours. Hugging Face has no dropout on attention weights and hidden activations by default; it gets ours.
        supervise_all_layers: losses on every decoder layer (its ``auxiliary_loss``), as in the paper.
        timm_name: the timm model to use, where ours is not a published one.
    """
    peer_config = PeerConfig(
        backbone=timm_name or config.backbone,
        num_labels=config.num_classes,
        num_queries=config.num_queries,
        d_model=config.dim,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.num_heads,
        decoder_attention_heads=config.num_heads,
        encoder_ffn_dim=config.feedforward_dim,
        decoder_ffn_dim=config.feedforward_dim,
        dropout=config.dropout,
        attention_dropout=config.dropout,
        activation_dropout=config.dropout,
        dilation=config.dilation,
        auxiliary_loss=supervise_all_layers,
    )
    return DetrForObjectDetection(peer_config)


@torch.no_grad()
def vary_weights(model: Detr) -> None:
    """Leave the fresh weights' symmetry, so that a comparison of outputs covers frozen norms and each query alone."""
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            # A residual branch starts small, or activations grow from block to block.
            size = 0.2 if name.endswith(("bn2", "bn3")) else 1.0
            module.weight.uniform_(0.8 * size, 1.2 * size)
            module.bias.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, MultiHeadAttention):
            # Fresh attention is nearly even, and gives every query the same answer.
            module.q_proj.weight.mul_(3)
            module.k_proj.weight.mul_(3)


def share_weights(model: Detr, peer: DetrForObjectDetection) -> None:
    """Copy our weights into the peer, every one of them."""
    peer.load_state_dict(PEER_KEYS.export(model.state_dict()))


def freeze_alike(model: Detr, peer: DetrForObjectDetection) -> None:
    """Train the same parameters in both: all but the stem and the first stage of the backbone, as in the paper.

    Hugging Face means to do so, but 5.x trains them all with a timm backbone, and none of the backbone with its own.
    """
    model.backbone.freeze_stem()
    trained = PEER_KEYS.export({name: p for name, p in model.named_parameters() if p.requires_grad})
    for name, parameter in peer.named_parameters():
        parameter.requires_grad_(name in trained)


def peer_inputs(images: ImageBatch) -> dict[str, Tensor]:
    """A batch as Hugging Face's image processor would hand it on."""
    return {"pixel_values": images.pixels, "pixel_mask": images.valid.to(torch.int64)}


def peer_labels(targets: list[Target]) -> list[dict[str, Any]]:
    """Targets as Hugging Face's loss wants them."""
    return [{"class_labels": target.labels, "boxes": target.boxes_cxcywh} for target in targets]
