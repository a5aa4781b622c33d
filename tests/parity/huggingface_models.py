"""Hugging Face's own DETR with random weights, in usual and unusual configurations, and its answers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DetrConfig, DetrForObjectDetection, DetrForSegmentation, ResNetConfig

from sleuth.models.detector import Detector
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction

Peer = DetrForObjectDetection | DetrForSegmentation

SMALL = {
    "d_model": 60,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 5,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 36,
    "num_queries": 17,
}


def resnet(layer_type: str, depths: list[int], *, width: int = 8, **more: Any) -> ResNetConfig:
    """Hugging Face's own ResNet, small."""
    expansion = 4 if layer_type == "bottleneck" else 1
    sizes = [width * expansion * 2**stage for stage in range(len(depths))]
    return ResNetConfig(embedding_size=64, hidden_sizes=sizes, depths=depths, layer_type=layer_type, **more)


def build_peer(options: dict[str, Any], *, masks: bool = False, seed: int = 0) -> Peer:
    """A model of theirs with random weights in which no norm is the identity and attention is far from even."""
    torch.manual_seed(seed)
    config = DetrConfig(**{**SMALL, "num_labels": 5, **options})
    model = (DetrForSegmentation if masks else DetrForObjectDetection)(config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif tensor.dim() == 1:
                # Norms and biases; a backbone's last norms stay small, or activations grow from block to block.
                tensor.uniform_(-0.1, 0.1) if name.endswith("bias") else tensor.uniform_(0.3, 0.9)
            elif name == "mask_head.conv1.conv.weight":
                # Shares of attention are small beside features, and they alone tell one query's mask from another's.
                tensor[:, config.d_model :].mul_(100)
            elif "embedding" in name:
                tensor.normal_(std=3)
            elif tensor.dim() == 2:
                # Theirs start so small that every query gives the same answer.
                sharp = any(part in name for part in ("q_proj", "k_proj"))
                tensor.normal_(std=(2 if sharp else 1) / tensor.shape[1] ** 0.5)
    return model.eval()


def batch(height: int = 96, width: int = 128) -> ImageBatch:
    """Two pictures, the second of them padded."""
    pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, height, width, dtype=torch.bool)
    valid[1, height - 30 :], valid[1, :, width - 37 :] = False, False
    return ImageBatch(pixels=pixels * valid[:, None], valid=valid)


@torch.no_grad()
def ask_peer(model: Peer, images: ImageBatch) -> dict[str, Tensor]:
    """Logits, boxes and, where there are any, masks."""
    answer = model(pixel_values=images.pixels, pixel_mask=images.valid.to(torch.int64))
    return {name: answer[name] for name in ("logits", "pred_boxes", "pred_masks") if name in answer}


@torch.no_grad()
def ask_ours(model: Detector, images: ImageBatch) -> dict[str, Tensor]:
    """The same of ours."""
    found: SetPrediction = model(images)
    answer = {"logits": found.logits[-1], "pred_boxes": found.boxes_cxcywh[-1]}
    if found.masks is not None:
        pictures, queries = answer["logits"].shape[:2]
        picture, query = torch.arange(pictures).repeat_interleave(queries), torch.arange(queries).repeat(pictures)
        answer["pred_masks"] = found.masks(picture, query).unflatten(0, (pictures, queries))
    return answer


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], atol: float = 1e-4) -> None:
    """The same outputs, and each of them worth comparing."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert expected.isfinite().all()
        assert expected.std(dim=1).mean() > 1e-3, f"{name} is the same for every query, so it shows nothing"
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=atol, msg=lambda text, at=name: f"{at}: {text}")


def save_peer(model: Peer, folder: Path, *, layout: str = "hub") -> Path:
    """Their own `save_pretrained`, in either layout."""
    model.save_pretrained(folder, save_original_format=layout == "hub")
    return folder
