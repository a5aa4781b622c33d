"""Hugging Face's own D-FINE with random weights, small, and its answers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

from sleuth.backbones.hgnetv2 import HgNetV2Name
from sleuth.models.dfine import Dfine
from sleuth.types.batches import ImageBatch
from sleuth.weights.origins.dfine_huggingface import backbone_fields

SMALL = {
    "encoder_hidden_dim": 24,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "d_model": 24,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 28,
    "decoder_layers": 2,
    "decoder_n_points": [2, 3, 1],
    "depth_mult": 0.34,
    "num_queries": 13,
    "max_num_bins": 8,
    "num_labels": 5,
}


def build_peer(options: dict[str, Any], *, size: HgNetV2Name = "b0", affine: bool = True, seed: int = 0) -> Any:
    """A model of theirs with random weights in which no norm is the identity and queries differ."""
    torch.manual_seed(seed)
    values = {**SMALL, **options}
    levels = values.get("num_feature_levels", 3)
    fields = backbone_fields(size, 0.25)
    backbone = HGNetV2Config(
        **fields,
        hidden_sizes=fields["stage_out_channels"],
        use_learnable_affine_block=affine,
        out_indices=list(range(5 - levels, 5)),
    )
    width = values["encoder_hidden_dim"]
    config = DFineConfig(
        **values,
        backbone_config=backbone,
        encoder_in_channels=fields["stage_out_channels"][-levels:],
        decoder_in_channels=[width] * levels,
        encode_proj_layers=[levels - 1],
        feat_strides=[8, 16, 32][-levels:],
    )
    model = DFineForObjectDetection(config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("num_points_scale", "num_batches_tracked", ".up")):
                continue
            if name.endswith("reg_scale"):
                tensor.fill_(values.get("reg_scale", 4.0))
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif tensor.dim() == 1:
                tensor.uniform_(-0.1, 0.1) if name.endswith("bias") else tensor.uniform_(0.6, 1.2)
            elif tensor.dim() == 2:
                tensor.normal_(std=1 / tensor.shape[1] ** 0.5)
            else:
                tensor.normal_(std=1.4 / tensor[0].numel() ** 0.5)
    return model.eval()


def batch(height: int = 96, width: int = 128) -> ImageBatch:
    """Two pictures without padding: their model knows none."""
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    return ImageBatch(pixels=pixels, valid=torch.ones(2, height, width, dtype=torch.bool))


@torch.no_grad()
def ask_peer(model: Any, images: ImageBatch) -> dict[str, Tensor]:
    answer = model(pixel_values=images.pixels)
    return {"logits": answer.logits, "pred_boxes": answer.pred_boxes.clamp(0, 1)}


@torch.no_grad()
def ask_ours(model: Dfine, images: ImageBatch) -> dict[str, Tensor]:
    found = model(images)
    return {"logits": found.logits[-1], "pred_boxes": found.boxes_cxcywh[-1]}


def save_peer(model: Any, folder: Path, *, layout: str = "hub") -> Path:
    """Their own `save_pretrained`, in either layout."""
    model.save_pretrained(folder, save_original_format=layout == "hub")
    return folder
