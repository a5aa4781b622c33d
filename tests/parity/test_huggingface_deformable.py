"""Hugging Face's Deformable DETR: saved by its own class and loaded by us it answers alike, and so do ours there."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from huggingface_models import ask_ours, ask_peer, assert_same, batch, resnet, save_peer
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

from sleuth.weights.checkpoint import load_model, save_model
from sleuth.weights.origins.huggingface import open_folder
from sleuth.weights.origins.huggingface_export import write_folder

SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 36,
    "encoder_n_points": 3,
    "decoder_n_points": 2,
    "num_queries": 17,
    "two_stage_num_proposals": 15,
}
LAST_THREE = {"out_features": ["stage2", "stage3", "stage4"]}
TEN = resnet("basic", [1, 1, 1, 1], **LAST_THREE)
REFINED, TWO_STAGE = {"with_box_refine": True}, {"with_box_refine": True, "two_stage": True}
MODELS: dict[str, dict[str, Any]] = {
    "timm resnet18": {"backbone": "resnet18"},
    "refined": {"backbone_config": TEN, **REFINED},
    "two-stage": {"backbone_config": TEN, **TWO_STAGE},
    "one level, dilated": {"backbone": "resnet18", "dilation": True, "num_feature_levels": 1},
    "levels made of one map": {
        "backbone_config": resnet("basic", [1, 1, 1, 1], out_features=["stage4"]),
        "num_feature_levels": 3,
        **REFINED,
    },
    "learned positions, gelu": {
        "backbone_config": TEN,
        "position_embedding_type": "learned",
        "activation_function": "gelu",
    },
    "bottlenecks, three stages": {
        "backbone_config": resnet("bottleneck", [3, 4, 6], width=4, out_features=["stage2", "stage3"]),
        **TWO_STAGE,
    },
}


def build_peer(options: dict[str, Any]) -> DeformableDetrForObjectDetection:
    """A model of theirs with random weights, whose heads differ from layer to layer where it refines boxes."""
    torch.manual_seed(0)
    model = DeformableDetrForObjectDetection(DeformableDetrConfig(**{**SMALL, "num_labels": 5, **options}))
    if model.config.with_box_refine:
        # Their version 5 ties fresh heads of all layers, which those of trained files are not.
        for name in ("class_embed", "bbox_embed"):
            heads = torch.nn.ModuleList(copy.deepcopy(head) for head in getattr(model, name))
            setattr(model, name, heads)
            if getattr(model.model.decoder, name) is not None:
                setattr(model.model.decoder, name, heads)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("sampling_offsets.bias"):
                tensor.normal_()
            elif tensor.dim() == 1:
                tensor.uniform_(-0.1, 0.1) if name.endswith("bias") else tensor.uniform_(0.3, 0.9)
            elif "embedding" in name or "level_embed" in name:
                tensor.normal_()
            elif tensor.dim() == 2:
                tensor.normal_(std=1 / tensor.shape[1] ** 0.5)
    return model.eval()


@pytest.mark.parametrize("layout", ["hub", "v5"])
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_detector_answers_alike_both_ways(options: dict[str, Any], layout: str, tmp_path: Path) -> None:
    peer = build_peer(options)
    theirs = ask_peer(peer, batch())
    loaded = open_folder(save_peer(peer, tmp_path / "theirs", layout=layout))
    assert_same(ask_ours(loaded.model, batch()), theirs)
    write_folder(tmp_path / "ours", loaded)
    assert_same(ask_ours(open_folder(tmp_path / "ours").model, batch()), theirs)
    again, report = DeformableDetrForObjectDetection.from_pretrained(tmp_path / "ours", output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not report.get(fault), (fault, report[fault])
    assert_same(ask_peer(again.eval(), batch()), theirs, atol=1e-5)


def test_every_name_of_a_head_is_written(tmp_path: Path) -> None:
    peer = build_peer(MODELS["two-stage"])
    write_folder(tmp_path / "ours", open_folder(save_peer(peer, tmp_path / "theirs")))
    found = load_file(tmp_path / "ours" / "model.safetensors")
    for layer in range(4):
        for name in (f"class_embed.{layer}.weight", f"bbox_embed.{layer}.layers.2.bias"):
            assert torch.equal(found[name], found[f"model.decoder.{name}"])
            assert torch.equal(found[name], peer.state_dict()[name])


def test_our_own_file_keeps_model_and_losses(tmp_path: Path) -> None:
    peer = build_peer({**MODELS["refined"], "bbox_cost": 3, "giou_loss_coefficient": 4, "focal_alpha": 0.5})
    loaded = open_folder(save_peer(peer, tmp_path / "theirs"))
    save_model(tmp_path / "ours.safetensors", loaded.model, loaded.card)
    again = load_model(tmp_path / "ours.safetensors")
    assert again.config == loaded.config
    assert (again.loss.classes, again.loss.match_l1, again.loss.giou_weight) == ("focal", 3, 4)
    assert again.loss.focal_alpha == 0.5
    write_folder(tmp_path / "back", again)
    assert_same(ask_ours(open_folder(tmp_path / "back").model, batch()), ask_peer(peer, batch()))
    assert open_folder(tmp_path / "back").loss == again.loss
