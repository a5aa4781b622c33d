"""D-FINE against the original implementation, on weights that anyone can regenerate."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from golden_fixture import Fixture, load_fixture

from sleuth.matching.union import matching_union
from sleuth.models.dfine import Dfine, DfineConfig, build_dfine
from sleuth.nn.distribution import edge_steps
from sleuth.nn.folding import FoldedConvolutions
from sleuth.queries import denoising
from sleuth.queries.denoising import DenoisingQueries, Noise
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig, LossReport
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.maps.dfine_original import DFINE_ORIGINAL

SMALL = DfineConfig(
    backbone="hgnetv2_b0",
    backbone_affine=True,
    encoder_expansion=0.5,
    encoder_depth=0.34,
    decoder_layers=3,
    feedforward_dim=512,
    num_queries=100,
    positions="original",
)


def _model(fixture: Fixture) -> Dfine:
    model = build_dfine(SMALL)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(DFINE_ORIGINAL.load(fixture.weights, wanted))
    return model.eval()


def _images(fixture: Fixture) -> ImageBatch:
    pixels = fixture.images()
    return ImageBatch(pixels=pixels, valid=torch.ones(len(pixels), *pixels.shape[-2:], dtype=torch.bool))


@pytest.fixture(scope="module")
def small(golden: Path) -> Fixture:
    return load_fixture(golden, "dfine_s")


@pytest.fixture(scope="module")
def model(small: Fixture) -> Dfine:
    return _model(small)


@pytest.fixture(scope="module")
def run(small: Fixture, model: Dfine) -> SetPrediction:
    with torch.no_grad():
        return model(_images(small))


def test_answers_agree(small: Fixture, run: SetPrediction) -> None:
    small.check("pred_logits", run.logits[-1])
    small.check("pred_boxes", run.boxes_cxcywh[-1])
    assert run.corners is not None
    small.check("last_pred_corners_first20", run.corners.logits[-1, :, :20])


def test_picked_queries_agree(small: Fixture, model: Dfine, run: SetPrediction) -> None:
    with torch.no_grad():
        picked = model.queries(run.memory.tokens, run.memory.grids_hw)
    small.check("enc/topk_indices", picked.tokens)
    small.check("init_reference_unact", picked.references)
    small.check("init_content_first20", picked.content[:, :20])


def test_the_plain_head_and_the_steps_agree(small: Fixture, model: Dfine, run: SetPrediction) -> None:
    small.check("weighting_function_project", edge_steps(32, model.decoder.up, model.decoder.reg_scale))
    with torch.no_grad():
        picked = model.queries(run.memory.tokens, run.memory.grids_hw)
        # Without dropout, training only adds the outputs that no answer needs.
        found = model.decoder.train()(
            picked.content, picked.references.sigmoid(), run.memory.tokens, run.memory.grids_hw
        )
        model.eval()
    small.check("pre_boxes", found.boxes_cxcywh[0])
    small.check("pre_logits_first20", found.logits[0, :, :20])
    torch.testing.assert_close(found.logits[-1], run.logits[-1])


def test_a_fused_model_agrees(small: Fixture) -> None:
    model = _model(small)
    with torch.no_grad(), FoldedConvolutions(model):
        run = model(_images(small))
    small.check("deploy/pred_logits", run.logits[-1])
    small.check("deploy/pred_boxes", run.boxes_cxcywh[-1])


class Training:
    """One training step of the original, with its random numbers."""

    def __init__(self, fixture: Fixture) -> None:
        self.fixture = fixture
        self.model = _model(fixture).train()
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        tensors = fixture.tensors
        self.targets = [
            Target(labels=tensors[f"in/targets_a/{i}/labels"], boxes_cxcywh=tensors[f"in/targets_a/{i}/boxes"])
            for i in range(2)
        ]
        self.noised: list[DenoisingQueries] = []
        assert self.model.denoising is not None
        self.model.denoising.register_forward_hook(lambda module, args, out: self.noised.append(out))
        self.run: SetPrediction = self.model(_images(fixture), self.targets)
        config = DetectionLossConfig(
            classes="varifocal", focal_alpha=0.75, match_class=2.0, match_union=True, auxiliary=True
        )
        self.report: LossReport = DetectionLoss(config)(self.run, self.targets)
        self.report.total.backward()


@pytest.fixture(scope="module")
def training(golden: Path) -> Training:
    fixture = load_fixture(golden, "dfine_s_train")
    noise = Noise(
        label_chance=fixture.tensors["in/dn/label_p"],
        other_label=fixture.tensors["in/dn/new_label"],
        sign=fixture.tensors["in/dn/box_sign_bit"] * 2 - 1,
        part=fixture.tensors["in/dn/box_part"],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, "draw_noise", lambda *args: noise)
        return Training(fixture)


def test_every_training_output_agrees(training: Training) -> None:
    fixture, run = training.fixture, training.run
    assert run.corners is not None
    assert run.proposals is not None
    fixture.check("pred_logits", run.logits[-1])
    fixture.check("pred_boxes", run.boxes_cxcywh[-1])
    fixture.check("pred_corners_first20", run.corners.logits[-1, :, :20])
    fixture.check("ref_points", run.corners.references_cxcywh)
    fixture.check("enc_aux/pred_boxes", run.proposals.boxes_cxcywh)
    for name, layer in (("pre", 0), ("aux0", 1), ("aux1", 2)):
        fixture.check(f"{name}/pred_boxes", run.boxes_cxcywh[layer])
        fixture.check(f"{name}/pred_logits_first30", run.logits[layer, :, :30])


def test_denoising_agrees(training: Training) -> None:
    fixture, found = training.fixture, training.run.denoising
    assert found is not None
    (noised,) = training.noised
    fixture.check("dn/noised_labels", noised.labels)
    fixture.check("dn/query_boxes_unact", noised.references)
    fixture.check("dn/pre_boxes", found.boxes_cxcywh[0])
    for layer in range(3):
        fixture.check(f"dn/layer{layer}_pred_boxes", found.boxes_cxcywh[layer + 1])
    fixture.check("dn/last_pred_logits_first30", found.logits[-1, :, :30])


def test_matches_agree_and_so_does_their_union(training: Training) -> None:
    fixture = training.fixture
    for name, match in zip(("pre", "aux0", "aux1", "last", "enc"), training.report.matches, strict=False):
        fixture.check(f"targets_a/match_{name}", torch.stack((match.picture, match.query, match.target), dim=1))
    union = matching_union(training.report.matches[:5])
    ours = {tuple(row) for row in torch.stack((union.picture, union.query, union.target), dim=1).tolist()}
    assert ours == {tuple(row) for row in fixture.tensors["out/targets_a/match_union_go"].tolist()}


def test_losses_agree(training: Training) -> None:
    parts, weights = training.report.parts, training.fixture.spec["values"]["weight_dict"]
    terms = {"loss_vfl": "class", "loss_bbox": "l1", "loss_giou": "giou", "loss_fgl": "fgl", "loss_ddf": "ddf"}
    stages = {"": "", "_aux_0": "_1", "_aux_1": "_2", "_pre": "_0", "_enc_0": "_proposals", "_dn_pre": "_denoising_0"}
    stages |= {f"_dn_{layer}": f"_denoising_{layer + 1}" for layer in range(3)}
    listed = training.fixture.spec["values"]["targets_a"]["loss_dict"]
    for theirs in listed:
        term = next(term for term in terms if theirs.startswith(term))
        # The last layer has nobody to learn from; the original gives it a zero.
        ours = parts.get(terms[term] + stages[theirs.removeprefix(term)], torch.zeros(()))
        training.fixture.check_value(f"targets_a/loss_dict/{theirs}", ours.item() * weights[term])
    assert len(listed) == 38
    training.fixture.check_value("targets_a/weighted_total", training.report.total.item())


def test_gradient_norms_agree(training: Training) -> None:
    parameters = dict(training.model.named_parameters())
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in parameters.items()}
    theirs = DFINE_ORIGINAL.export(gradients)
    listed = training.fixture.spec["values"]["targets_a"]["grad_norm"]
    assert len(listed) == 25
    for key in listed:
        training.fixture.check_value(f"targets_a/grad_norm/{key}", theirs[key].double().norm().item())


def test_the_key_map_inverts(small: Fixture, model: Dfine) -> None:
    exported = DFINE_ORIGINAL.export(model.state_dict())
    made = {key for key in small.spec["constructed"] if not key.endswith((".up", ".reg_scale"))}
    assert exported.keys() == small.weights.keys() - made
    for key, value in exported.items():
        assert torch.equal(value, small.weights[key].to(value.dtype)), key
