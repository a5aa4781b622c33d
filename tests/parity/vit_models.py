"""Vision Transformers of timm and Hugging Face with random weights, small, and their answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    DeiTModel,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from sleuth.types.batches import ImageBatch

SIZES = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 7}
TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_base_patch16_224", {}),
    "oblong": ("vit_base_patch16_224", {"img_size": (48, 80)}),
    "mean, norm after": ("vit_base_patch16_224", {"global_pool": "avg", "class_token": False}),
    "mean beside a class token": ("vit_base_patch16_224", {"global_pool": "avg"}),
    "class, norm after": ("vit_base_patch16_224", {"fc_norm": True}),
    "mean, norm before": ("vit_base_patch16_224", {"global_pool": "avg", "fc_norm": False}),
    "no biases, tanh, wide": ("vit_base_patch16_224", {"qkv_bias": False, "act_layer": "gelu_tanh", "mlp_ratio": 2.6}),
    "registers": ("vit_base_patch16_224", {"reg_tokens": 3, "init_values": 0.5}),
    "no positions": ("vit_base_patch16_224", {"pos_embed": "none"}),
    "no head": ("vit_base_patch16_224", {"num_classes": 0}),
    "deit": ("deit_small_patch16_224", {}),
    "deit, distilled": ("deit_base_distilled_patch16_224", {}),
    "deit 3": ("deit3_small_patch16_224", {}),
    "dinov2": ("vit_small_patch14_dinov2", {"img_size": 70, "init_values": 0.3}),
    "dinov2, registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 70, "init_values": 0.3}),
    "dinov2, gated": ("vit_giant_patch14_reg4_dinov2", {"img_size": 70, "mlp_ratio": 3.0, "init_values": 0.3}),
}
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 64, "num_labels": 7}
PLAIN = {**SMALL, "intermediate_size": 64, "patch_size": 16}
DINO = {**SMALL, "patch_size": 16, "layerscale_value": 0.4}
HUGGINGFACE: dict[str, tuple[type[Any], Any]] = {
    "vit": (ViTForImageClassification, ViTConfig(**PLAIN)),
    "vit, no biases, relu": (ViTForImageClassification, ViTConfig(**PLAIN, qkv_bias=False, hidden_act="relu")),
    "vit, backbone": (ViTModel, ViTConfig(**PLAIN)),
    "deit": (DeiTForImageClassification, DeiTConfig(**PLAIN)),
    "deit, teacher": (DeiTForImageClassificationWithTeacher, DeiTConfig(**PLAIN)),
    "deit, backbone": (DeiTModel, DeiTConfig(**PLAIN)),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config(**DINO)),
    "dinov2, backbone": (Dinov2Model, Dinov2Config(**DINO)),
    "dinov2, gated": (Dinov2ForImageClassification, Dinov2Config(**DINO, use_swiglu_ffn=True)),
    "dinov2, registers": (Dinov2WithRegistersForImageClassification, Dinov2WithRegistersConfig(**DINO)),
    "dinov2, registers, gated, backbone": (
        Dinov2WithRegistersModel,
        Dinov2WithRegistersConfig(**DINO, num_register_tokens=2, use_swiglu_ffn=True),
    ),
}


def vary(model: nn.Module) -> nn.Module:
    """Weights with which no norm is the identity, positions matter, and attention is far from even."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("bias"):
                tensor.uniform_(-0.2, 0.2)
            elif "norm" in name or "lambda" in name or "gamma" in name:
                tensor.uniform_(0.3, 0.9)
            elif tensor.dim() == 2 and "token" not in name:
                tensor.normal_(std=1.5 / tensor.shape[1] ** 0.5)
            elif tensor.dim() == 4:
                tensor.normal_(std=1 / tensor[0].numel() ** 0.5)
            else:
                tensor.normal_()
    return model.eval()


def build_timm(name: str, **more: Any) -> nn.Module:
    """One of timm's by its name in `TIMM`, with random weights."""
    torch.manual_seed(0)
    architecture, options = TIMM[name]
    return vary(timm.create_model(architecture, **{**SIZES, "img_size": 64, **options, **more}))


def save_timm(model: nn.Module, folder: Path) -> Path:
    """As timm writes a folder for the hub."""
    save_for_hf(model, folder, safe_serialization=True)
    return folder


def build_huggingface(name: str) -> nn.Module:
    """One of Hugging Face's by its name in `HUGGINGFACE`, with random weights."""
    torch.manual_seed(0)
    kind, config = HUGGINGFACE[name]
    return vary(kind(config))


@torch.no_grad()
def ask_huggingface(model: nn.Module, pixels: Tensor, *, resize: bool = False) -> Tensor:
    """Logits of a classifier; of a backbone its pooler's output, or else the class token's state."""
    flag = {"interpolate_pos_encoding": True} if resize and model.config.model_type in ("vit", "deit") else {}
    answer = model(pixel_values=pixels, **flag)
    if "logits" in answer:
        return answer.logits
    return answer.pooler_output


def pictures(*size_hw: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size_hw, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def ask_ours(model: nn.Module, pixels: Tensor) -> Tensor:
    valid = torch.ones(len(pixels), *pixels.shape[-2:], dtype=torch.bool)
    return model(ImageBatch(pixels=pixels, valid=valid)).logits


def assert_same(ours: Tensor, theirs: Tensor, atol: float = 1e-4) -> None:
    """The same answers, and such as tell one picture from another."""
    assert theirs.isfinite().all()
    assert theirs.std(dim=0).mean() > 1e-2, "the answers are the same for every picture, so they show nothing"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def sizes_of(patch_size: int, grids: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(height * patch_size, width * patch_size) for height, width in grids]
