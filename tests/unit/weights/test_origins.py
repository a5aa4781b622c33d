"""Folders in Hugging Face's form and checkpoints of the original: what they hold, what is wrong with them, and back."""

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.preprocess import Preprocess
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import LoadedModel, detector_card
from sleuth.weights.origins import original
from sleuth.weights.origins.coco_names import coco_is_thing, coco_names, named_as_coco_panoptic
from sleuth.weights.origins.huggingface import check_config, open_folder
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.original import open_original, write_original

SMALL = DetrConfig(
    backbone="resnet10",
    backbone_width=8,
    num_classes=3,
    num_queries=5,
    dim=16,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feedforward_dim=8,
)
PUBLISHED_WIDTH = replace(SMALL, backbone="resnet18", backbone_width=64)
NAMES, IDS = ("cat", "dog", "sky"), (3, 7, 40)


def model(config: DetrConfig = SMALL, **card: Any) -> LoadedModel:
    torch.manual_seed(0)
    built = build_detr(config).eval()
    for name, buffer in built.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    known = {"names": NAMES, "category_ids": IDS, "preprocess": Preprocess(shortest=64, longest=96)}
    return LoadedModel(built, detector_card(config, **{**known, **card}))


def same_answers(one: LoadedModel, other: LoadedModel) -> bool:
    images = ImageBatch(torch.randn(1, 3, 64, 96), torch.ones(1, 64, 96, dtype=torch.bool))
    with torch.no_grad():
        a, b = one.model(images), other.model(images)
    return torch.allclose(a.logits, b.logits, atol=1e-5) and torch.allclose(a.boxes_cxcywh, b.boxes_cxcywh, atol=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "hf", model())
    return tmp_path / "hf"


def edit(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    kept = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not ...}))


VARIANTS = {
    "plain": {},
    "live norm": {"frozen_norm": False},
    "encoder supervised": {"supervise_encoder": True},
    "three stages": {"backbone_stages": 3},
    "learned": {"positions": "learned"},
    "two kinds of layers": {"decoder_num_heads": 4, "decoder_feedforward_dim": 12},
    "dropouts": {"dropout": 0.3, "attention_dropout": 0.1, "activation_dropout": 0.2},
    "gelu": {"activation": "gelu"},
    "norm between layers": {"norm_between_layers": True},
    "timm's width, dilated": {"backbone": "resnet18", "backbone_width": 64, "dilation": True},
    "timm's width, dilated, three stages": {
        "backbone": "resnet18",
        "backbone_width": 64,
        "dilation": True,
        "backbone_stages": 3,
    },
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_folder_round_trips(options: dict[str, Any], tmp_path: Path) -> None:
    before = model(replace(SMALL, **options))
    write_folder(tmp_path / "hf", before)
    after = open_folder(tmp_path / "hf")
    assert (after.card.names, after.card.category_ids) == (NAMES, IDS)
    assert after.preprocess == replace(before.preprocess, rounding="huggingface")
    theirs = {"frozen_norm": True, "supervise_encoder": False}
    resolved = {"attention_dropout": 0.1, "activation_dropout": 0.1, "decoder_num_heads": 2} | {
        "decoder_feedforward_dim": 8
    }
    wanted = {key: resolved.get(key) if value is None else value for key, value in asdict(before.config).items()}
    assert asdict(after.config) == wanted | theirs
    assert same_answers(before, after)


def test_things_and_stuff_round_trip(tmp_path: Path) -> None:
    config = replace(SMALL, masks=True, dim=32, num_heads=8)
    write_folder(tmp_path / "hf", model(config, is_thing=(True, True, False)))
    after = open_folder(tmp_path / "hf")
    assert after.config.masks
    assert after.card.is_thing == (True, True, False)
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["architectures"] == ["DetrForSegmentation"]


def test_loss_weights_are_kept(folder: Path, tmp_path: Path) -> None:
    edit(folder, eos_coefficient=0.3, bbox_cost=9)
    loaded = open_folder(folder)
    assert loaded.card.notes["loss"]["no_object_weight"] == 0.3
    write_folder(tmp_path / "again", loaded)
    values = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (values["eos_coefficient"], values["bbox_cost"], values["giou_cost"]) == (0.3, 9, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(SMALL, pre_norm=True), "cannot express this model: it normalises before attention"),
        (replace(SMALL, dilation=True), "a dilated resnet10 of width 8"),
        (replace(SMALL, masks=True), r"its mask head has widths \(18, 8, 4, 2, 1\)"),
    ],
)
def test_what_huggingface_cannot_express(config: DetrConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        write_folder(tmp_path / "hf", model(config))
    assert not list(tmp_path.iterdir())


def test_class_names(folder: Path) -> None:
    edit(folder, id2label=..., label2id=..., sleuth=...)
    loaded = open_folder(folder)
    assert loaded.card.names == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert loaded.card.category_ids == (0, 1, 2)
    edit(folder, num_labels=2)
    with pytest.raises(UserError, match="num_labels = 2 cannot be honoured: the weights have 3 classes"):
        open_folder(folder)
    for labels in ({"0": "a", "1": "b"}, {"1": "a", "2": "b", "3": "c"}, {"0": "a", "1": "b", "x": "c"}):
        edit(folder, id2label=labels)
        with pytest.raises(UserError, match=r"id2label names . classes, but the weights have 3, numbered from 0"):
            open_folder(folder)


def test_without_a_preprocessor_their_defaults_hold(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    assert open_folder(folder).preprocess == Preprocess(rounding="huggingface")


def test_weights_in_shards_and_in_pickles(folder: Path) -> None:
    expected = open_folder(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = sorted(tensors)[::2], sorted(tensors)[1::2]
    for suffix, save in ((".safetensors", save_file), (".bin", torch.save)):
        stem = "model" if suffix == ".safetensors" else "pytorch_model"
        index = {}
        for number, keys in enumerate(halves):
            save({key: tensors[key] for key in keys}, folder / f"{stem}-{number}{suffix}")
            index |= dict.fromkeys(keys, f"{stem}-{number}{suffix}")
        file = folder / f"{stem}{suffix}.index.json"
        file.write_text(json.dumps({"weight_map": index}))
        assert same_answers(open_folder(folder), expected)
        (folder / f"{stem}-1{suffix}").unlink()
        with pytest.raises(UserError, match="no such file"):
            open_folder(folder)
        file.unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert same_answers(open_folder(folder), expected)


def test_half_precision_is_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({key: tensor.half() for key, tensor in load_file(file).items()}, file)
    assert {value.dtype for value in open_folder(folder).model.state_dict().values()} == {torch.float32}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "another family": ({"model_type": "yolos"}, "the model_type 'yolos' cannot be loaded.*supported: detr"),
    "no family": ({"model_type": None}, "no model_type cannot be loaded.*supported: detr"),
    "no heads": ({"architectures": ["DetrModel"]}, "'DetrModel' cannot be loaded.*DetrForSegmentation"),
    "other sizes": ({"num_queries": 6}, r"'queries.weight' has shape \[5, 16\], but the model wants \[6, 16\]"),
    "absurd sizes": ({"encoder_ffn_dim": 10**15}, "the model wants"),
    "more layers": ({"decoder_layers": 3}, "no weights for 'decoder.layers.2"),
    "fewer layers": ({"decoder_layers": 1}, "the model has no 'decoder.layers.1"),
    "other positions": ({"position_embedding_type": "learned"}, "no weights for 'positions.column' and 1 more"),
    "a mask head": ({"architectures": ["DetrForSegmentation"]}, "no class head"),
    "ids": ({"sleuth": {"category_ids": [1, 2]}}, "sleuth.category_ids = .1, 2. cannot be honoured"),
    "things": ({"sleuth": {"is_thing": [True]}}, "sleuth.is_thing = .True. cannot be honoured"),
    "no field of theirs": ({"num_feature_levels": 4}, "the field 'num_feature_levels' is unknown"),
}


@pytest.mark.parametrize(("values", "message"), FAULTS.values(), ids=FAULTS)
def test_a_folder_at_fault(folder: Path, values: dict[str, Any], message: str) -> None:
    edit(folder, **values)
    with pytest.raises(UserError, match=message) as caught:
        open_folder(folder)
    assert str(folder) in caught.value.line()


def test_files_that_are_missing_or_broken(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"this folder holds no config.json"):
        open_folder(tmp_path)
    with pytest.raises(UserError, match=r"this folder holds no config.json"):
        check_config(tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    poisoned = tensors["class_labels_classifier.bias"].clone()
    poisoned[1] = float("nan")
    save_file({**tensors, "class_labels_classifier.bias": poisoned}, file)
    with pytest.raises(UserError, match="not finite"):
        open_folder(folder)
    save_file({**tensors, "surprise.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=r"'surprise.weight' is unknown in the key map of Hugging Face's"):
        open_folder(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"holds neither model.safetensors nor pytorch_model.bin"):
        open_folder(folder)
    for text, message in (("{", "not readable JSON"), ("[1]", "holds no JSON object"), ("\xff", "not readable JSON")):
        (folder / "config.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=message):
            open_folder(folder)


def test_a_configuration_alone_can_be_checked(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    check_config(folder)
    edit(folder, num_channels=4)
    with pytest.raises(UserError, match="num_channels = 4"):
        check_config(folder)


ORIGINALS = {
    "plain": {},
    "live norm": {"frozen_norm": False},
    "pre-norm": {"pre_norm": True},
    "learned": {"positions": "learned"},
    "deeper, other heads": {"encoder_layers": 3, "num_heads": 4},
    "dilated": {"backbone": "resnet50", "dilation": True},
    "masks": {"backbone": "resnet50", "masks": True, "dim": 128, "num_heads": 8},
}


@pytest.mark.parametrize("options", ORIGINALS.values(), ids=ORIGINALS)
def test_a_checkpoint_of_the_original_round_trips(options: dict[str, Any], tmp_path: Path) -> None:
    before = model(replace(PUBLISHED_WIDTH, **options), is_thing=(True, True, False))
    write_original(tmp_path / "model.pth", before)
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert not any(key.endswith("num_batches_tracked") for key in content["model"])
    after = open_original(tmp_path / "model.pth")
    assert asdict(after.config) == asdict(before.config) | {"frozen_norm": True}
    for field in ("names", "category_ids", "is_thing", "preprocess"):
        assert getattr(after.card, field) == getattr(before.card, field)
    assert same_answers(before, after)


def test_a_checkpoint_as_the_original_writes_it(tmp_path: Path) -> None:
    """A bare state dict takes the published 8 heads and no dilation; options in the file and arguments go before."""
    before = model(replace(PUBLISHED_WIDTH, num_heads=8))
    write_original(tmp_path / "ours.pth", before)
    state = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    torch.save({"model": state}, tmp_path / "bare.pth")
    bare = open_original(tmp_path / "bare.pth")
    assert same_answers(bare, before)
    assert bare.card.names == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert bare.preprocess == Preprocess()
    torch.save({"model": state}, tmp_path / "detr-r50-dc5-f0fb7ef5.pth")
    assert open_original(tmp_path / "detr-r50-dc5-f0fb7ef5.pth").config.dilation
    torch.save({"model": state, "epoch": 3, "args": Namespace(nheads=4, dilation=True, lr=1e-4)}, tmp_path / "run.pth")
    assert (
        open_original(tmp_path / "run.pth").config.num_heads,
        open_original(tmp_path / "run.pth").config.dilation,
    ) == (
        4,
        True,
    )
    asked = open_original(tmp_path / "run.pth", num_heads=2, dilation=False).config
    assert (asked.num_heads, asked.dilation) == (2, False)


def test_coco_s_names_are_known() -> None:
    names, panoptic = coco_names(91), coco_names(250)
    assert names is not None
    assert panoptic is not None
    assert (names[0], names[1], names[17], names[90], names[12]) == ("N/A", "person", "cat", "toothbrush", "N/A")
    assert (panoptic[92], panoptic[187], panoptic[200]) == ("banner", "sky-other-merged", "rug-merged")
    assert (len(set(names)), len(set(panoptic))) == (81, 134)
    things = coco_is_thing(panoptic)
    assert things is not None
    assert (things[90], things[92]) == (True, False)
    assert coco_is_thing(names) is None
    assert coco_is_thing(panoptic[::-1]) is None
    assert coco_names(80) is None


def test_placeholders_of_panoptic_models_get_coco_s_names() -> None:
    panoptic = coco_names(250)
    assert panoptic is not None
    unnamed = tuple(f"LABEL_{label}" for label in range(250))
    named = named_as_coco_panoptic(unnamed)
    assert named is not None
    assert (named[0], named[1], named[199], named[249]) == ("LABEL_0", "person", "wall-other-merged", "LABEL_249")
    assert coco_is_thing(named) == coco_is_thing(panoptic) is not None
    assert named_as_coco_panoptic((*panoptic[:184], *unnamed[184:])) is not None
    assert named_as_coco_panoptic(("LABEL_0", "robot", *unnamed[2:])) is None
    assert named_as_coco_panoptic(unnamed[:91]) is None


def test_names_are_those_of_the_data(shared_data: Any) -> None:
    categories = json.loads(
        (shared_data("coco128") / "panoptic_segmentation/annotations/panoptic_train2017.json").read_text()
    )["categories"]
    names = coco_names(250)
    assert names is not None
    assert all(names[each["id"]] == each["name"] for each in categories)
    things = coco_is_thing(names)
    assert things is not None
    assert all(things[each["id"]] == bool(each["isthing"]) for each in categories)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet10", "backbone_width": 8}, "its backbone is a resnet10 of width 8 and 4 stages"),
        ({"dilation": True}, "a dilated resnet18"),
        ({"activation": "gelu"}, "its activation is gelu"),
        ({"decoder_num_heads": 4}, "heads and feed-forward sizes of encoder and decoder differ"),
        ({"norm_between_layers": True}, "hand on normalised states"),
        ({"masks": True}, "a mask head on resnet18"),
        ({"masks": True, "backbone": "resnet50"}, "groups of eight must fit"),
    ],
)
def test_what_the_original_cannot_express(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        write_original(tmp_path / "model.pth", model(replace(PUBLISHED_WIDTH, **options)))
    assert not list(tmp_path.iterdir())


def test_checkpoints_at_fault(tmp_path: Path) -> None:
    write_original(tmp_path / "ours.pth", model(replace(PUBLISHED_WIDTH, num_heads=8)))
    state = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    file = tmp_path / "faulty.pth"
    faults: list[tuple[dict[str, Any], str]] = [
        ({"model": {"weight": torch.zeros(1)}}, "of no known project. known: facebookresearch/detr"),
        ({"model": {"class_embed.bias": torch.zeros(3)}}, "holds no 'query_embed.weight', so it is no DETR"),
        ({"model": {**state, "extra": torch.zeros(1)}}, "'extra' is unknown"),
        (
            {"model": {key: value for key, value in state.items() if "bbox_embed" not in key}},
            "no weights for 'box_head",
        ),
        ({"model": {key: value for key, value in state.items() if ".layer3." not in key}}, r"blocks \[2, 2, 0, 2\]"),
        ({"model": state, "args": Namespace(nheads=3)}, "dim = 16 is not a multiple"),
        ({"model": state, "args": Namespace(nheads="many")}, "nheads = 'many' cannot be honoured"),
    ]
    for content, message in faults:
        torch.save(content, file)
        with pytest.raises(UserError, match=message) as caught:
            open_original(file)
        assert str(file) in caught.value.line()


def test_a_checkpoint_of_two_projects_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_original(tmp_path / "ours.pth", model(replace(PUBLISHED_WIDTH, num_heads=8)))
    twin = replace(original.ORIGINALS[0], project="somebody/detr")
    monkeypatch.setattr(original, "ORIGINALS", (*original.ORIGINALS, twin))
    with pytest.raises(UserError, match="more than one project: facebookresearch/detr, somebody/detr"):
        open_original(tmp_path / "ours.pth")


def test_a_running_average_goes_before_the_weights(tmp_path: Path) -> None:
    before = model(replace(PUBLISHED_WIDTH, num_heads=8))
    write_original(tmp_path / "ours.pth", before)
    state = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    last = {key: torch.zeros_like(value) for key, value in state.items()}
    torch.save({"model": last, "ema": {"module": state, "updates": 3}}, tmp_path / "averaged.pth")
    assert same_answers(open_original(tmp_path / "averaged.pth"), before)


def test_a_family_without_a_form_elsewhere(tmp_path: Path) -> None:
    loaded = model()
    stranger = replace(loaded, card=replace(loaded.card, architecture="stranger"))
    with pytest.raises(UserError, match=r"a stranger cannot be written in Hugging Face's form. .*what can be: detr"):
        write_folder(tmp_path, stranger)
    with pytest.raises(UserError, match=r"a stranger cannot be written in the form of an original"):
        write_original(tmp_path / "model.pth", stranger)
    assert not list(tmp_path.iterdir())
