"""A detector's backbone that starts from a vision Transformer of another kind of model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sleuth.backbones.vit_features import VitFeatures
from sleuth.errors import UserError
from sleuth.models.vit import build_vit, build_vit_backbone
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.training.assemble import assemble, model_card
from sleuth.training.recipe import recipe_from_tables
from sleuth.training.sources import open_source
from sleuth.training.start_vit import take_vit
from sleuth.weights.checkpoint import save_model
from sleuth.weights.classifiers import open_classifier

SMALL = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 16}
DIGITS = VIT_VARIANTS["vit-digits"]


def tables(**changes: object) -> dict:
    model = {"name": "detr-small", "backbone": "vit-digits", "dilation": False, **SMALL}
    return {"model": model | changes, "run": {"steps": 1}}


def test_a_bundled_classifier_gives_its_backbone(tmp_path: Path) -> None:
    recipe = recipe_from_tables(tables(backbone_weights="vit-digits"), where="test")
    assembled = assemble(recipe, ("a", "b"))
    assert assembled.remarks == ("backbone of vit-digits",)
    backbone, theirs = assembled.model.backbone, open_classifier("vit-digits").model.backbone
    assert isinstance(backbone, VitFeatures)
    assert all(torch.equal(tensor, backbone.body.state_dict()[name]) for name, tensor in theirs.state_dict().items())
    # So does a detector's file.
    source = open_source(replace(recipe, data=replace(recipe.data, train_limit=1)), "train")
    model = assemble(recipe, tuple(source.names)).model
    save_model(tmp_path / "m.safetensors", model, model_card(recipe, source))
    again = assemble(recipe_from_tables(tables(backbone_weights=str(tmp_path / "m.safetensors")), where="test"), ("a",))
    assert torch.equal(again.model.backbone.body.patches.weight, theirs.patches.weight)


def test_positions_of_another_grid_are_resized() -> None:
    ours, theirs = build_vit_backbone(DIGITS), build_vit_backbone(replace(DIGITS, image_hw=(16, 12)))
    with torch.no_grad():
        theirs.positions.table[:] = torch.randn(1, 1, 64)  # the same everywhere stays the same everywhere
        theirs.positions.table[:, 0] = 7.0
    take_vit(ours, DIGITS, theirs, replace(DIGITS, image_hw=(16, 12)), where="test")
    torch.testing.assert_close(ours.positions.table[:, 1:], theirs.positions.table[:, 1:17], atol=1e-5, rtol=0)
    assert bool((ours.positions.table[:, 0] == 7).all())


def test_a_classifier_that_normalises_after_pooling_leaves_the_norm_fresh() -> None:
    config = replace(DIGITS, pool="mean", norm_after_pool=True)
    ours, theirs = build_vit_backbone(DIGITS), build_vit(config).backbone
    take_vit(ours, DIGITS, theirs, config, where="test")
    assert torch.equal(ours.blocks[3].norm1.weight, theirs.blocks[3].norm1.weight)
    assert bool((ours.norm.weight == 1).all())


@pytest.mark.parametrize(
    ("change", "says"),
    [({"depth": 2}, "depth is 2 there, 4 here"), ({"num_heads": 2}, "num_heads"), ({"registers": 4}, "registers")],
)
def test_another_make_is_refused(change: dict, says: str) -> None:
    config = replace(DIGITS, **change)
    with pytest.raises(UserError, match=says):
        take_vit(build_vit_backbone(DIGITS), DIGITS, build_vit_backbone(config), config, where="test")


def test_weights_that_are_nowhere_are_told() -> None:
    with pytest.raises(UserError, match="there is no classifier 'vit-digit'"):
        assemble(recipe_from_tables(tables(backbone_weights="vit-digit"), where="test"), ("a",))
