"""The table for the original DETR leads to every key of every variant, and back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.weights.maps.detr_original import DETR_ORIGINAL, DETR_ORIGINAL_MASKS

TINY = DetrConfig(
    backbone_width=4,
    num_classes=3,
    num_queries=5,
    dim=8,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=2,
    feedforward_dim=8,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dilation": True},
        {"pre_norm": True},
        {"positions": "learned"},
        {"backbone": "resnet18"},
        {"backbone": "resnet101"},
        {"encoder_layers": 12},
    ],
    ids=str,
)
def test_round_trip(options: dict[str, object]) -> None:
    ours = build_detr(replace(TINY, **options)).state_dict()
    theirs = DETR_ORIGINAL.export(ours)
    back = DETR_ORIGINAL.load(theirs, {key: value.shape for key, value in ours.items()})
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], value) for key, value in ours.items())


def test_some_keys_by_name() -> None:
    theirs = DETR_ORIGINAL.export(build_detr(TINY).state_dict())
    assert {
        "backbone.0.body.conv1.weight",
        "backbone.0.body.layer1.0.downsample.1.running_var",
        "transformer.encoder.layers.1.self_attn.in_proj_weight",
        "transformer.decoder.layers.0.multihead_attn.out_proj.bias",
        "transformer.decoder.layers.1.linear2.weight",
        "transformer.decoder.norm.bias",
        "query_embed.weight",
        "class_embed.weight",
        "bbox_embed.layers.2.bias",
        "input_proj.weight",
    } <= theirs.keys()


def test_counters_of_batch_norm_are_dropped() -> None:
    rule, _ = DETR_ORIGINAL.rule_for("backbone.0.body.layer2.3.bn1.num_batches_tracked")
    assert rule.op == "drop"
    assert rule.reason


def test_a_model_of_another_depth_is_named() -> None:
    theirs = DETR_ORIGINAL.export(build_detr(TINY).state_dict())
    deeper = build_detr(replace(TINY, decoder_layers=3)).state_dict()
    with pytest.raises(UserError, match=r"no weights for 'decoder.layers.2"):
        DETR_ORIGINAL.load(theirs, {key: value.shape for key, value in deeper.items()})


def test_a_model_of_other_classes_is_named() -> None:
    theirs = DETR_ORIGINAL.export(build_detr(TINY).state_dict())
    other = build_detr(replace(TINY, num_classes=7)).state_dict()
    with pytest.raises(UserError, match=r"'class_head.weight' has shape \[4, 8\], but the model wants \[8, 8\]"):
        DETR_ORIGINAL.load(theirs, {key: value.shape for key, value in other.items()})


GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(
    ("fixture", "options"),
    [
        ("detr_r50", {}),
        ("detr_r50_dc5", {"dilation": True}),
        ("detr_r50_panoptic", {"num_classes": 250, "masks": True}),
    ],
)
def test_every_key_of_the_original_s_own_state_dict(fixture: str, options: dict[str, object]) -> None:
    """One to one: each of its keys leads to ours, all of ours are met, and they lead back to its own."""
    theirs = json.loads((GOLDEN / fixture / "spec.json").read_text())["state_dict"]
    table = DETR_ORIGINAL_MASKS if "masks" in options else DETR_ORIGINAL
    with torch.device("meta"):
        ours = build_detr(replace(DetrConfig(), **options)).state_dict()
    exported = table.export(ours)
    assert exported.keys() == set(theirs)
    assert {table.rule_for(key)[0].op for key in theirs} == {"identity", "split_qkv"}
    loaded = table.load(exported, {key: value.shape for key, value in ours.items()})
    assert loaded.keys() == ours.keys()
