"""The tables for Hugging Face's DETR: both layouts read, their own renames followed, each undone by itself."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.weights.maps.detr_huggingface import detr_huggingface

TINY = DetrConfig(
    backbone="resnet18",
    backbone_width=8,
    num_classes=3,
    num_queries=5,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=2,
    feedforward_dim=8,
    positions="learned",
)


def renamed(key: str) -> str:
    """A key of the hub's layout as version 5 renames it while loading."""
    for name in ("DetrModel", "DetrForSegmentation"):
        for rule in get_checkpoint_conversion_mapping(name):
            key, _ = rule.rename_source_key(key)
    return key


@pytest.mark.parametrize(("backbone", "masks"), list(product(["timm", "resnet"], [False, True])))
def test_both_layouts_lead_to_every_key_and_back(backbone: str, masks: bool) -> None:
    ours = build_detr(replace(TINY, masks=masks)).state_dict()
    shapes = {key: value.shape for key, value in ours.items()}
    for written, read in product(["hub", "v5"], repeat=2):
        theirs = detr_huggingface(backbone=backbone, masks=masks, layout=written).export(ours)
        assert len(theirs) == len(ours)
        back = detr_huggingface(backbone=backbone, masks=masks, layout=read).load(theirs, shapes)
        assert all(torch.equal(back[key], value) for key, value in ours.items())


@pytest.mark.parametrize(("backbone", "masks"), list(product(["timm", "resnet"], [False, True])))
def test_the_layouts_differ_as_their_own_renames_say(backbone: str, masks: bool) -> None:
    ours = build_detr(replace(TINY, masks=masks)).state_dict()
    hub = detr_huggingface(backbone=backbone, masks=masks, layout="hub").export(ours)
    v5 = detr_huggingface(backbone=backbone, masks=masks, layout="v5").export(ours)
    assert {renamed(key) for key in hub} == v5.keys()
    assert all(torch.equal(v5[renamed(key)], value) for key, value in hub.items())
    assert hub.keys() != v5.keys()


def test_some_keys_by_name() -> None:
    hub = detr_huggingface(backbone="timm").export(build_detr(TINY).state_dict())
    assert {
        "model.backbone.conv_encoder.model.conv1.weight",
        "model.backbone.conv_encoder.model.layer2.0.downsample.1.running_var",
        "model.encoder.layers.1.self_attn.out_proj.weight",
        "model.decoder.layers.0.encoder_attn.k_proj.bias",
        "model.decoder.layers.1.fc2.weight",
        "model.decoder.layernorm.bias",
        "model.query_position_embeddings.weight",
        "class_labels_classifier.weight",
        "bbox_predictor.layers.2.bias",
        "model.input_projection.weight",
    } <= hub.keys()


def test_spellings_of_older_versions_are_read() -> None:
    """Learned positions under the backbone, and timm's models one level deeper."""
    ours = build_detr(TINY).state_dict()
    theirs = detr_huggingface(backbone="timm").export(ours)
    older = {
        key.replace("model.position_embedding", "model.backbone.position_embedding").replace(
            "conv_encoder.model", "conv_encoder.model._backbone"
        ): value
        for key, value in theirs.items()
    }
    back = detr_huggingface(backbone="timm").load(older, {key: value.shape for key, value in ours.items()})
    assert all(torch.equal(back[key], value) for key, value in ours.items())


def test_both_spellings_of_one_key_are_one_too_many() -> None:
    ours = build_detr(TINY).state_dict()
    hub = detr_huggingface(backbone="timm").export(ours)
    v5 = detr_huggingface(backbone="timm", layout="v5").export(ours)
    with pytest.raises(UserError, match="a second time"):
        detr_huggingface(backbone="timm").load(hub | v5, {key: value.shape for key, value in ours.items()})


def test_stages_that_nothing_reads_are_dropped_with_a_reason() -> None:
    ours = build_detr(replace(TINY, backbone_stages=2)).state_dict()
    whole = detr_huggingface(backbone="resnet").export(build_detr(TINY).state_dict())
    theirs = {key: value for key, value in whole.items() if "input_projection" not in key}
    theirs["model.input_projection.weight"] = torch.zeros(16, 16, 1, 1)
    theirs["model.input_projection.bias"] = torch.zeros(16)
    table = detr_huggingface(backbone="resnet", stages=2)
    assert table.load(theirs, {key: value.shape for key, value in ours.items()}).keys() == ours.keys()
    rule, _ = table.rule_for("model.backbone.conv_encoder.model.encoder.stages.3.layers.0.shortcut.convolution.weight")
    assert rule.op == "drop"
    assert rule.reason
    counter, _ = table.rule_for("model.backbone.model.embedder.embedder.normalization.num_batches_tracked")
    assert counter.op == "drop"
    assert counter.reason


def test_a_key_of_the_other_backbone_is_unknown() -> None:
    theirs = detr_huggingface(backbone="timm").export(build_detr(TINY).state_dict())
    with pytest.raises(UserError, match="is unknown in the key map of Hugging Face's DetrForObjectDetection"):
        detr_huggingface(backbone="resnet").load(theirs, {})
