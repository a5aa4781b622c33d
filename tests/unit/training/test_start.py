"""What a model keeps of the one that it starts from."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.models.families import build_detector
from sleuth.tasks.detection import Preprocess
from sleuth.training.assemble import assemble, build_model
from sleuth.training.recipe import recipe_from_tables
from sleuth.training.sections import Table
from sleuth.weights.checkpoint import LoadedModel, detector_card, save_model
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.original import write_original
from sleuth.weights.resolve import open_model

CONFIG = DetrConfig(
    backbone="resnet10",
    backbone_width=8,
    dim=16,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feedforward_dim=32,
    num_queries=8,
    num_classes=3,
    dropout=0.05,
)
PREPROCESS = Preprocess(shortest=96, longest=160, mean=(0.5, 0.4, 0.3))


def write_start(path: Path, names: tuple[str, ...] = ("cat", "Dog", "bus"), **changes) -> Path:
    torch.manual_seed(7)
    config = replace(CONFIG, num_classes=len(names), **changes)
    ids = tuple(range(len(names)))
    save_model(path, build_detr(config), detector_card(config, names=names, category_ids=ids, preprocess=PREPROCESS))
    return path


@pytest.fixture
def start(tmp_path: Path) -> LoadedModel:
    return open_model(write_start(tmp_path / "start.safetensors"))


@pytest.fixture
def recipe(tmp_path: Path, start):
    """A function from keys of [model] to a recipe that starts from the start."""

    def make(**model):
        tables: Table = {"model": {"weights": str(tmp_path / "start.safetensors")} | model, "run": {"steps": 1}}
        return recipe_from_tables(tables, where="test")

    return make


def test_the_architecture_and_the_pictures_are_the_starts(recipe):
    made = recipe(num_queries=5)
    config = asdict(made.model.config)
    assert config == asdict(replace(CONFIG, num_queries=5)) | {"num_classes": config["num_classes"]}
    assert made.preprocess == PREPROCESS
    assert made.model.name == ""


def test_a_resolved_recipe_needs_the_start_no_more(recipe, tmp_path: Path):
    import tomllib

    made = recipe()
    (tmp_path / "start.safetensors").unlink()
    again = recipe_from_tables(tomllib.loads(made.text()), where="again")
    assert again == made
    assert assemble(again, ("a",), resume=True).model.class_head.out_features == 2


def test_classes_of_the_same_name_and_no_object_are_kept(recipe, start):
    names = ("dog", "wolf", "cat")
    assembled = assemble(recipe(), names)
    ours, theirs = assembled.model.class_head, start.model.class_head
    for row, other in ((0, 1), (2, 0), (3, 3)):
        assert torch.equal(ours.weight[row], theirs.weight[other])
        assert torch.equal(ours.bias[row], theirs.bias[other])
    assert not any(torch.equal(ours.weight[1], row) for row in theirs.weight)
    assert "2 classes kept (dog, cat), 1 class fresh (wolf), 8 queries kept, everything else kept" in "".join(
        assembled.remarks
    )


def test_the_same_number_of_other_classes_is_not_mistaken_for_the_same(recipe, start):
    ours = build_model(recipe(), ("bus", "cat", "dog")).class_head.weight
    assert torch.equal(ours, start.model.class_head.weight[[2, 0, 1, 3]])


def test_a_fresh_class_head_on_demand(recipe, start):
    assembled = assemble(recipe(keep_classes=False), ("cat", "Dog", "bus"))
    model, theirs = assembled.model, start.model.class_head.weight
    assert not any(torch.equal(ours, row) for ours, row in zip(model.class_head.weight, theirs, strict=True))
    assert torch.equal(model.box_head.mlp.layers[0].weight, start.model.box_head.mlp.layers[0].weight)
    assert "0 classes kept, 3 classes fresh" in assembled.remarks[0]


def test_fewer_queries_are_the_first_ones(recipe, start):
    model = build_model(recipe(num_queries=3), ("a",))
    assert torch.equal(model.queries.weight, start.model.queries.weight[:3])


def test_further_queries_are_drawn_like_the_others(recipe, tmp_path: Path):
    first = open_model(tmp_path / "start.safetensors")
    with torch.no_grad():
        first.model.queries.weight.mul_(0.1).add_(3.0)
    save_model(tmp_path / "start.safetensors", first.model, first.card)
    assembled = assemble(recipe(num_queries=400), ("a",))
    queries = assembled.model.queries.weight
    assert torch.equal(queries[:8], first.model.queries.weight)
    assert torch.allclose(queries[8:].mean(0), first.model.queries.weight.mean(0), atol=0.03)
    assert torch.allclose(queries[8:].std(0), first.model.queries.weight.std(0, correction=0), atol=0.03)
    assert len(queries.unique(dim=0)) == 400
    assert "8 queries kept, 392 queries fresh" in assembled.remarks[0]


def test_a_mask_head_is_added_or_dropped(tmp_path: Path):
    def made(weights: Path, masks: bool):
        tables: Table = {"model": {"weights": str(weights), "masks": masks}, "run": {"steps": 1}}
        return assemble(recipe_from_tables(tables, where="test"), ("a",))

    boxes, masks = write_start(tmp_path / "b.safetensors"), write_start(tmp_path / "m.safetensors", masks=True)
    added = made(boxes, True)
    assert added.model.mask_head is not None
    assert "mask head fresh, everything else kept" in added.remarks[0]
    kept = made(masks, True)
    theirs = open_model(masks).model.mask_head.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in kept.model.mask_head.state_dict().items())
    assert "mask head kept" in kept.remarks[0]
    dropped = made(masks, False)
    assert dropped.model.mask_head is None
    assert "mask head dropped" in dropped.remarks[0]


@pytest.mark.parametrize("kind", ["huggingface", "original"])
def test_models_of_other_origins_are_starts(kind: str, tmp_path: Path):
    config = replace(
        CONFIG, backbone="resnet18", backbone_width=64, num_heads=2 if kind == "huggingface" else 8, dim=64
    )
    torch.manual_seed(7)
    names = ("cat", "dog", "bus")
    card = detector_card(config, names=names, category_ids=(0, 1, 2), preprocess=PREPROCESS)
    ours, theirs = LoadedModel(build_detr(config), card), tmp_path / "theirs"
    if kind == "huggingface":
        theirs.mkdir()
        write_folder(theirs, ours)
    else:
        theirs = tmp_path / "theirs.pth"
        write_original(theirs, ours)
    tables: Table = {"model": {"weights": str(theirs), "num_queries": 9, "masks": True}, "run": {"steps": 1}}
    made = recipe_from_tables(tables, where="test")
    assert (made.model.config.dim, made.preprocess.mean) == (64, PREPROCESS.mean)
    assembled = assemble(made, ("dog", "wolf"))
    assert (
        "1 class kept (dog), 1 class fresh (wolf), 8 queries kept, 1 query fresh, mask head fresh"
        in assembled.remarks[0]
    )
    for name in ("encoder.layers.0.self_attention.q_proj.weight", "backbone.body.conv1.weight"):
        assert torch.equal(assembled.model.state_dict()[name], ours.model.state_dict()[name])


def test_the_row_of_any_object_is_kept_whatever_the_classes(tmp_path: Path):
    numbers = asdict(CONFIG) | {"dim": 32, "refine": True, "two_stage": True}
    known = {name: value for name, value in numbers.items() if name in asdict(DeformableDetrConfig())}
    config, names = DeformableDetrConfig(**known), ("cat", "Dog", "bus")
    theirs = build_detector(config)
    card = detector_card(config, names=names, category_ids=(0, 1, 2), preprocess=PREPROCESS)
    save_model(tmp_path / "start.safetensors", theirs, card)
    tables: Table = {"model": {"weights": str(tmp_path / "start.safetensors")}, "run": {"steps": 1}}
    ours = assemble(recipe_from_tables(tables, where="test"), ("horse", "dog")).model
    proposing, start = ours.queries.source.class_head.weight, theirs.queries.source.class_head.weight
    assert torch.equal(proposing[0], start[0])
    assert not torch.equal(proposing[1], start[1])
    assert torch.equal(ours.class_heads[0].weight[1], theirs.class_heads[0].weight[1])
    assert not torch.equal(ours.class_heads[0].weight[0], theirs.class_heads[0].weight[0])
