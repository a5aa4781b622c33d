"""What holds of every family of detectors; a new one is checked as soon as it is in the table."""

from dataclasses import FrozenInstanceError, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.explain.trace import trace_model
from sleuth.models.families import (
    FAMILIES,
    Detector,
    DetectorConfig,
    Family,
    build_detector,
    computation,
    config_from,
    family_of,
)
from sleuth.tasks.detection import Preprocess, build_criterion, decode_detections
from sleuth.training.assemble import assemble
from sleuth.training.recipe import ModelSettings, recipe_from_tables
from sleuth.training.rows import rows_of
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.catalog import CATALOG, names_of
from sleuth.weights.checkpoint import detector_card, load_model, save_model

TINY: dict[str, object] = {
    "backbone": "resnet10",
    "backbone_width": 8,
    "num_classes": 4,
    "num_queries": 6,
    "dim": 32,
    "num_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward_dim": 32,
    "frozen_norm": False,
}
"""Numbers of a small model; a family takes those that it has, and what `OWN` says instead."""

OWN: dict[str, dict[str, object]] = {
    "dfine": {
        "backbone": "hgnetv2_b0",
        "backbone_width": 0.25,
        "encoder_dim": 32,
        "encoder_num_heads": 2,
        "encoder_feedforward_dim": 32,
        "encoder_depth": 0.34,
        "bins": 8,
        "num_denoising": 8,
    },
    "fcos": {"dim": 64, "num_levels": 3, "tower_layers": 1},
    "rtdetr": {"encoder_dim": 32, "encoder_num_heads": 2, "encoder_feedforward_dim": 32, "num_points": (2, 1, 2)},
}
"""Numbers of the small model of one family, where `TINY` makes none."""

NAMES = ("cat", "dog", "bus", "car")


def tiny(family: Family, **changes: object) -> DetectorConfig:
    known = {field.name for field in fields(family.config)}
    wanted = {name: value for name, value in TINY.items() if name in known} | OWN.get(family.name, {})
    return family.config(**wanted | changes)


def images() -> ImageBatch:
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, :, 64:] = False
    return ImageBatch(torch.randn(2, 3, 64, 96) * valid[:, None], valid)


def targets() -> list[Target]:
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.3], [0.2, 0.3, 0.1, 0.2], [0.7, 0.6, 0.2, 0.2]])
    return [Target(torch.tensor([0, 3, 1]), boxes), Target(torch.tensor([2]), boxes[:1])]


@pytest.fixture(params=FAMILIES.values(), ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture
def config(family: Family) -> DetectorConfig:
    return tiny(family)


@pytest.fixture
def model(config: DetectorConfig) -> Detector:
    return build_detector(config)


def test_the_table_is_one_to_one() -> None:
    assert all(name == family.name for name, family in FAMILIES.items())
    assert len({family.config for family in FAMILIES.values()}) == len(FAMILIES)


def test_its_numbers_are_plain_and_frozen(family: Family, config: DetectorConfig) -> None:
    assert is_dataclass(family.config)
    with pytest.raises(FrozenInstanceError):
        config.num_classes = 5
    hash(config)
    for each in (config, family.config()):
        assert isinstance(each, DetectorConfig)
        assert family_of(each) is family
        assert config_from(family.name, asdict(each)) == each
    assert set(family.silent) == set(computation(config))
    own = {field.name for field in fields(ModelSettings)} - {"config"}
    assert own.isdisjoint(field.name for field in fields(family.config)), "a recipe has both in [model]"


def test_its_builder_takes_nonsense_for_a_value_error(family: Family) -> None:
    with pytest.raises(ValueError, match="num_queries"):
        tiny(family, num_queries=0)


def test_it_is_named_in_the_catalog(family: Family) -> None:
    assert names_of(family.name)
    for name in names_of(family.name):
        assert type(CATALOG[name].config) is family.config


def test_it_answers(family: Family, model: Detector, config: DetectorConfig) -> None:
    assert isinstance(model, Detector)
    assert model.mask_head is None
    model.eval()
    with torch.inference_mode():
        prediction = model(images())
        again = model(images(), None)
    assert isinstance(prediction, SetPrediction)
    _, batch, queries, classes = prediction.logits.shape
    assert (batch, queries) == (2, prediction.memory.tokens.shape[1] if family.dense else config.num_queries)
    assert (prediction.suppression is not None) == (prediction.points is not None) == family.dense
    assert classes == config.num_classes + (prediction.activation == "softmax")
    assert again.logits.shape == prediction.logits.shape
    assert prediction.memory_logits is None
    assert prediction.denoising is None
    # Models without padding masks may look for objects in the padding, which is outside of the second picture.
    boxes = prediction.boxes_cxcywh
    assert bool((boxes >= 0).all())
    assert bool((boxes[:, 0] <= 1).all())
    assert prediction.memory.input_hw == (64, 96)
    assert sum(height * width for height, width in prediction.memory.grids_hw) == prediction.memory.tokens.shape[1]
    found = decode_detections(prediction, [(64, 96), (64, 64)])
    assert [len(each.scores) for each in found] == [config.num_queries] * 2


def test_the_same_picture_gets_the_same_answer_with_or_without_targets(model: Detector) -> None:
    model.eval()
    batch = images()
    with torch.inference_mode():
        plain, told = model(batch), model(batch, targets())
    assert torch.equal(plain.logits, told.logits)
    assert torch.equal(plain.boxes_cxcywh, told.boxes_cxcywh)


def test_every_weight_learns(family: Family, config: DetectorConfig, model: Detector) -> None:
    model.train()
    criterion = build_criterion(CATALOG[names_of(family.name)[0]].loss)
    for _ in range(2):  # some weights start at zero and hold back the gradient of others
        report = criterion(model(images(), targets()), targets())
        assert report.total.isfinite()
        model.zero_grad()
        report.total.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    without = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert not without, "several processes wait for the gradient of every weight"


def test_pictures_without_objects_are_learned_from(family: Family, model: Detector) -> None:
    model.train()
    none = [Target(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))] * 2
    criterion = build_criterion(CATALOG[names_of(family.name)[0]].loss)
    report = criterion(model(images(), none), none)
    assert report.total.isfinite()
    report.total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    # Processes add up their losses: whatever their pictures hold, these are the same ones.
    assert list(report.parts) == list(criterion(model(images(), targets()), targets()).parts)


def test_more_objects_than_queries_are_learned_from(family: Family, model: Detector) -> None:
    """Mosaics have them, where the data itself has not."""
    model.train()
    many = [Target(torch.randint(0, 4, (count,)), 0.3 + 0.4 * torch.rand(count, 4)) for count in (40, 1)]
    report = build_criterion(CATALOG[names_of(family.name)[0]].loss)(model(images(), many), many)
    assert report.total.isfinite()
    report.total.backward()


def test_a_file_gives_the_model_back(model: Detector, config: DetectorConfig, tmp_path: Path) -> None:
    path, preprocess = tmp_path / "m.safetensors", Preprocess(resize="exact", size_hw=(64, 96))
    loss = CATALOG[names_of(family_of(config).name)[0]].loss
    card = detector_card(config, names=NAMES, category_ids=(1, 2, 3, 7), preprocess=preprocess, loss=loss)
    save_model(path, model, card)
    loaded = load_model(path)
    assert (loaded.config, loaded.preprocess, loaded.loss) == (config, preprocess, loss)
    assert loaded.card.architecture == family_of(config).name
    state = model.state_dict()
    assert loaded.model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.model.state_dict().items())
    model.eval()
    batch = images()
    with torch.inference_mode():
        assert torch.equal(loaded.model(batch).logits, model(batch).logits)


def test_a_recipe_starts_from_it_with_other_classes(model: Detector, config: DetectorConfig, tmp_path: Path) -> None:
    path, preprocess = tmp_path / "m.safetensors", Preprocess(resize="exact", size_hw=(64, 96))
    loss = CATALOG[names_of(family_of(config).name)[0]].loss
    save_model(
        path,
        model,
        detector_card(config, names=NAMES, category_ids=(1, 2, 3, 7), preprocess=preprocess, loss=loss),
    )
    recipe = recipe_from_tables({"model": {"weights": str(path), "num_queries": 5}, "run": {"steps": 1}}, where="test")
    assert recipe.model.family == family_of(config).name
    assert (recipe.preprocess, recipe.loss) == (preprocess, loss)
    assert replace(recipe.model.config, num_classes=4, num_queries=6) == config
    assert recipe_from_tables(recipe.tables(), where="again") == recipe
    assembled = assemble(recipe, ("bus", "wolf", "cat"))
    assert assembled.model.training
    assert "2 classes kept (bus, cat), 1 class fresh (wolf)" in assembled.remarks[0]
    rows, state, theirs = rows_of(config), assembled.model.state_dict(), model.state_dict()
    assert rows.classes
    for name, dim in rows.classes.items():
        ours, start = state[name].movedim(dim, 0), theirs[name].movedim(dim, 0)
        assert torch.equal(ours[[0, 2]], start[[2, 0]])
        assert torch.equal(ours[3:], start[4:]), "no-object, or padding"
    for name, dim in rows.queries.items():
        assert torch.equal(state[name], theirs[name].narrow(dim, 0, 5))


def test_another_family_is_no_start(model: Detector, config: DetectorConfig, tmp_path: Path) -> None:
    other = next((each for each in FAMILIES.values() if each is not family_of(config)), None)
    if other is None:
        pytest.skip("there is one family alone")
    card = detector_card(config, names=NAMES, category_ids=(1, 2, 3, 7), preprocess=Preprocess())
    save_model(tmp_path / "m.safetensors", model, card)
    tables = {"model": {"name": names_of(other.name)[0], "weights": str(tmp_path / "m.safetensors")}}
    with pytest.raises(UserError, match=f"a {family_of(config).name} there, a {other.name} in the recipe"):
        assemble(recipe_from_tables({**tables, "run": {"steps": 1}}, where="test"), ("a",))


@pytest.mark.parametrize("layers", [False, True])
def test_its_data_flow_is_told(family: Family, model: Detector, config: DetectorConfig, layers: bool) -> None:
    trace = trace_model(model, images(), layers=layers, name="tiny")
    assert trace.parameters == sum(parameter.numel() for parameter in model.parameters())
    whole = [step for step in trace.steps if not step.detail]
    assert sum(step.parameters for step in whole) == trace.parameters
    assert sum(step.flops for step in whole) == trace.flops > 0
    assert trace["image"].shape == (2, 3, 64, 96)
    assert trace["boxes"].shape == (2, trace["memory"].shape[1] if family.dense else config.num_queries, 4)
    for name in ("memory", "class logits", *(() if family.dense else ("queries", "decoder states"))):
        assert trace[name].shape
    assert "tiny" in trace.render()


def test_names_and_shapes_of_weights_do_not_change_by_chance(family: Family, config: DetectorConfig) -> None:
    """Two builds agree, and neither classes nor queries change a name."""
    with torch.device("meta"):
        keys = [list(build_detector(each).state_dict()) for each in (config, config, replace(config, num_classes=9))]
    assert keys[0] == keys[1] == keys[2]


def test_what_belongs_to_no_family() -> None:
    @dataclass(frozen=True)
    class Stray:
        num_classes: int = 1
        num_queries: int = 1
        dim: int = 8

    with pytest.raises(ValueError, match="Stray is the config of no family"):
        family_of(Stray())
    with pytest.raises(UserError, match=r"unknown family: 'dter'. did you mean 'detr'"):
        recipe_from_tables({"model": {"family": "dter"}, "run": {"steps": 1}}, where="test")
