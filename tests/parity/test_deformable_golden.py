"""Deformable DETR, plain, refined and two-stage, against the original implementation."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from deformable_runs import Run, run
from golden_fixture import load_fixture

from sleuth.models.deformable_detr import DeformableDetrConfig, build_deformable_detr
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.weights.maps.deformable_detr_original import deformable_detr_original
from sleuth.weights.origins.original import ORIGINALS
from sleuth.weights.pickles import PickledWeights

PLAIN, REFINED, TWO_STAGE = "deformable_detr_r50", "deformable_detr_r50_refine", "deformable_detr_r50_two_stage"
CONFIGS = {
    PLAIN: DeformableDetrConfig(dropout=0.0),
    REFINED: DeformableDetrConfig(dropout=0.0, refine=True),
    TWO_STAGE: DeformableDetrConfig(dropout=0.0, refine=True, two_stage=True, num_queries=100),
}
LOSS = DetectionLossConfig(classes="focal", class_weight=2.0, match_class=2.0)


@pytest.fixture(scope="module", params=[PLAIN, REFINED, TWO_STAGE])
def found(request: pytest.FixtureRequest, golden: Path) -> Run:
    config = CONFIGS[request.param]
    keys = deformable_detr_original(refine=config.refine, two_stage=config.two_stage)
    return run(load_fixture(golden, request.param), lambda: build_deformable_detr(config), keys)


def test_every_decoder_layer_agrees(found: Run) -> None:
    found.check_layers()


def test_memory_and_what_parts_say_on_the_way_agree(found: Run) -> None:
    fixture, seen = found.fixture, found.seen
    fixture.check("memory_every8th", found.prediction.memory.tokens[:, ::8])
    fixture.check("decoder0_cross_attn_output_first50", seen["decoder.layers.0.cross_attention"][1][:, :50])
    if "out/encoder_reference_points" in fixture.tensors:
        (_, references, *_), result = seen["encoder.layers.0.self_attention"]
        fixture.check("encoder_reference_points", references)
        fixture.check("encoder0_self_attn_output_every8th", result[:, ::8])
        fixture.check("encoder0_output_every8th", seen["encoder.layers.0"][1][:, ::8])
        height, width = found.prediction.memory.grids_hw[0]
        pos = found.prediction.memory.pos[:, : height * width] - found.model.level_embed[0]
        fixture.check("pos_level0_every4th_channel", pos.unflatten(1, (height, width)).permute(0, 3, 1, 2)[:, ::4])


def test_references_agree(found: Run) -> None:
    boxes, start = found.prediction.boxes_cxcywh, found.seen["decoder"][0][1]
    found.fixture.check("init_reference", start)
    moves = found.model.decoder.refine
    found.fixture.check("inter_references", boxes if moves else start.expand(6, -1, -1, -1))


def test_proposals_agree(found: Run) -> None:
    proposals = found.prediction.proposals
    if "out/enc/topk_indices" not in found.fixture.tensors:
        assert proposals is None
        return
    assert proposals is not None
    assert proposals.class_agnostic
    found.fixture.check("enc/pred_logits_class0", proposals.logits[..., 0])
    found.fixture.check("enc/pred_boxes", proposals.boxes_cxcywh)
    found.fixture.check("enc/topk_indices", found.seen["queries.source"][1].tokens)


@pytest.mark.parametrize("name", ["targets_a", "targets_b"])
def test_matches_losses_and_gradients_agree(found: Run, name: str) -> None:
    report = build_criterion(LOSS)(found.prediction, found.targets(name))
    two_stage = found.prediction.proposals is not None
    found.check_matches(name, report, "enc" if two_stage else None)
    suffixes = {"": "", **{f"_{layer}": f"_{layer}" for layer in range(5)}}
    found.check_losses(name, report, suffixes | ({"_enc": "_proposals"} if two_stage else {}))
    found.check_gradients(name, report.total)


def test_decoding_agrees(found: Run) -> None:
    found.check_decoded()


def test_a_checkpoint_tells_what_it_is(found: Run) -> None:
    pickled = PickledWeights(found.fixture.weights, found.fixture.spec["config"])
    (original,) = [each for each in ORIGINALS if each.recognises(pickled.tensors.keys())]
    loaded = original.read(pickled, Path("checkpoint.pth"))
    assert loaded.config == CONFIGS[found.fixture.spec["fixture"]]
    assert loaded.loss == LOSS
    assert loaded.card.names[1] == "person"
    state = found.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.model.state_dict().items())


def test_the_key_map_inverts(found: Run) -> None:
    exported = found.keys.export(found.model.state_dict())
    assert exported.keys() == found.fixture.weights.keys()
    for key, value in found.fixture.weights.items():
        assert torch.equal(exported[key], value), key
