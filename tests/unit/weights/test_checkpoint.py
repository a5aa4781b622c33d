"""One file is one model: bit for bit, or a clear word on what is wrong with it."""

import errno
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sleuth.errors import UserError
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import Preprocess
from sleuth.weights import checkpoint
from sleuth.weights.checkpoint import ModelCard, detector_card, load_model, read_tensors, save_model, save_tensors

CONFIG = DetrConfig(
    backbone="resnet10",
    backbone_width=4,
    num_classes=2,
    num_queries=3,
    dim=8,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feedforward_dim=8,
    frozen_norm=False,
)
PREPROCESS = Preprocess(shortest=64, longest=96, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))


def card(**changes: object) -> ModelCard:
    made = detector_card(CONFIG, names=("cat", "dög"), category_ids=(1, 17), preprocess=PREPROCESS, notes={"ap": 0.5})
    return replace(made, **changes)


@pytest.fixture
def model() -> Detr:
    return build_detr(CONFIG).eval()


@pytest.fixture
def saved(model: Detr, tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", model, card())
    return tmp_path / "model.safetensors"


def fault(run: Callable[[], object]) -> str:
    """The one line of the user error that ``run`` raises."""
    with pytest.raises(UserError) as caught:
        run()
    line = caught.value.line()
    assert len(line.splitlines()) == 1
    assert caught.value.mend
    return line


def rewrite(
    path: Path, change: Callable[[dict[str, torch.Tensor]], None], metadata: dict[str, str] | None = None
) -> None:
    tensors, found = read_tensors(path)
    change(tensors)
    save_file(tensors, path, metadata=found if metadata is None else metadata)


def rewrite_card(path: Path, change: Callable[[dict], None]) -> None:
    _, metadata = read_tensors(path)
    values = json.loads(metadata["sleuth"])
    change(values)
    rewrite(path, lambda tensors: None, {"sleuth": json.dumps(values)})


def test_round_trip_is_exact_to_the_bit(model: Detr, saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key
        assert loaded.model.state_dict()[key].dtype == value.dtype, key
    assert not loaded.model.training


def test_the_card_comes_back_as_it_was(saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.config == CONFIG
    assert loaded.preprocess == PREPROCESS
    assert loaded.card.names == ("cat", "dög")
    assert loaded.card.category_ids == (1, 17)
    assert loaded.card.notes == {"ap": 0.5}
    again = saved.with_name("again.safetensors")
    save_model(again, loaded.model, loaded.card)
    assert again.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_halves_the_file_and_loads_as_single(model: Detr, tmp_path: Path, dtype: torch.dtype) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_model(full, model, card())
    save_model(half, model, card(), dtype=dtype)
    stored = load_file(half)
    assert {value.dtype for value in stored.values()} == {dtype, torch.int64}  # batch norm counts batches
    weights = sum(value.nbytes for value in load_file(full).values())
    assert sum(value.nbytes for value in stored.values()) < 0.51 * weights
    for key, value in load_model(half).model.state_dict().items():
        original = model.state_dict()[key]
        assert value.dtype == original.dtype
        assert torch.equal(value, original.to(stored[key].dtype).to(original.dtype)), key


def test_what_half_precision_cannot_hold_stays_single(model: Detr, tmp_path: Path) -> None:
    with torch.no_grad():
        model.class_head.weight[0, 0] = 1e6
    save_model(tmp_path / "m.safetensors", model, card(), dtype=torch.float16)
    assert load_model(tmp_path / "m.safetensors").model.class_head.weight[0, 0].item() == 1e6


def test_a_model_on_its_way_through_training_saves_the_same(model: Detr, tmp_path: Path) -> None:
    """Weights with gradients, and a view that is not contiguous."""
    model.train()
    model.class_head.weight.data = model.class_head.weight.data.T.contiguous().T
    save_model(tmp_path / "m.safetensors", model, card())
    assert torch.equal(load_model(tmp_path / "m.safetensors").model.class_head.weight, model.class_head.weight)


def test_a_card_needs_a_name_for_each_class() -> None:
    with pytest.raises(ValueError, match="2 classes, but 1 names and 2 category ids"):
        detector_card(CONFIG, names=("cat",), category_ids=(1, 2), preprocess=PREPROCESS)


def test_no_file(tmp_path: Path) -> None:
    assert "nowhere.safetensors: no such file" in fault(lambda: load_model(tmp_path / "nowhere.safetensors"))


def test_a_folder(tmp_path: Path) -> None:
    assert "this is a folder" in fault(lambda: load_model(tmp_path))


def test_a_name_too_long_for_any_file(tmp_path: Path) -> None:
    assert "not a readable" in fault(lambda: load_model(tmp_path / ("n" * 5000)))


def test_no_permission(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    assert "no permission to read" in fault(lambda: load_model(saved))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:4],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: b"\0" * len(data),
        lambda data: data[:8] + b"x" + data[9:],
        lambda data: b"\x80\x04\x95 a pickle",
        lambda data: b"PK\x03\x04 a zip, as torch.save writes",
        lambda data: data + b"more",
    ],
    ids=["empty", "4 bytes", "100 bytes", "last byte", "half", "header", "zeros", "json", "pickle", "zip", "longer"],
)
def test_damaged_files(saved: Path, damage: Callable[[bytes], bytes]) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    line = fault(lambda: load_model(saved))
    assert "model.safetensors: not a readable safetensors file" in line
    assert "copy it again" in line


def test_a_weight_that_is_not_finite(saved: Path) -> None:
    rewrite(saved, lambda tensors: tensors["input_proj.weight"].view(-1)[:1].fill_(float("nan")))
    assert "'input_proj.weight' holds values that are not finite" in fault(lambda: load_model(saved))


def test_a_weight_is_missing(saved: Path) -> None:
    rewrite(saved, lambda tensors: tensors.pop("queries.weight"))
    assert "weights of another model: 'queries.weight' is missing" in fault(lambda: load_model(saved))


def test_a_weight_too_many(saved: Path) -> None:
    rewrite(saved, lambda tensors: tensors.update(mask_head=torch.zeros(1)))
    assert "weights of another model: 'mask_head' is unknown" in fault(lambda: load_model(saved))


def test_a_weight_of_another_shape(saved: Path) -> None:
    rewrite(saved, lambda tensors: tensors.update({"queries.weight": torch.zeros(4, 8)}))
    assert "'queries.weight' has shape [4, 8], not [3, 8]" in fault(lambda: load_model(saved))


def test_loading_is_all_or_nothing(model: Detr) -> None:
    tensors = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    tensors["class_head.bias"] = torch.full((3,), float("inf"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fault(lambda: checkpoint.fill(model, tensors, Path("m")))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_without_a_card(saved: Path) -> None:
    rewrite(saved, lambda tensors: None, {"format": "pt"})
    assert "these weights carry no Sleuth card" in fault(lambda: load_model(saved))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '{"architecture": "detr"}'])
def test_a_card_that_is_none(saved: Path, text: str) -> None:
    rewrite(saved, lambda tensors: None, {"sleuth": text})
    assert "the card is not readable" in fault(lambda: load_model(saved))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": None}, "not readable"),
        ({"category_ids": 3}, "not readable"),
        ({"config": [1]}, "not readable"),
        ({"preprocess": "large"}, "not readable"),
        ({"surprise": 1}, "not readable"),
        ({"architecture": "yolo"}, "unknown architecture 'yolo'"),
        ({"names": ["cat"]}, "the card names 1 classes, but the model has 2"),
        ({"config": {**asdict(CONFIG), "wings": 2}}, "unknown option 'wings'"),
        ({"config": {**asdict(CONFIG), "dim": 9}}, "describes no model"),
        ({"config": {**asdict(CONFIG), "dim": "large"}}, "describes no model"),
        ({"config": {**asdict(CONFIG), "backbone": "resnet9"}}, "describes no model"),
        ({"preprocess": {"shortest": 0}}, "describes no model"),
        ({"preprocess": {"tallest": 3}}, "describes no model"),
    ],
    ids=str,
)
def test_a_card_with_a_fault(saved: Path, change: dict[str, object], message: str) -> None:
    rewrite_card(saved, lambda values: values.update(change))
    assert message in fault(lambda: load_model(saved))


def test_weights_of_another_config(saved: Path) -> None:
    rewrite_card(saved, lambda values: values["config"].update(decoder_layers=3))
    assert "weights of another model: 'decoder.layers.2" in fault(lambda: load_model(saved))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "the disk is full"),
        ("Error while serializing: I/O error: Permission denied (os error 13)", "no permission to write"),
    ],
)
def test_a_failed_write_keeps_the_former_file(
    saved: Path, model: Detr, monkeypatch: pytest.MonkeyPatch, message: str, expected: str
) -> None:
    before = saved.read_bytes()

    def fail(_tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise checkpoint.SafetensorError(message)

    monkeypatch.setattr(checkpoint, "save_file", fail)
    assert expected in fault(lambda: save_model(saved, model, card()))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_fault_of_the_library_is_not_blamed_on_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise checkpoint.SafetensorError("a bug")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(checkpoint.SafetensorError):
        save_tensors(tmp_path / "m.safetensors", {"a": torch.zeros(1)}, {})
    assert not list(tmp_path.iterdir())
