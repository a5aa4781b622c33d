"""RT-DETRv2 against the original implementation, on weights that anyone can regenerate."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from golden_fixture import Fixture, load_fixture

from sleuth.errors import UserError
from sleuth.models.rtdetr import RtDetr, RtDetrConfig, build_rtdetr
from sleuth.nn.folding import FoldedConvolutions
from sleuth.queries.denoising import Noise
from sleuth.queries.top_k import TopKQueries
from sleuth.tasks.detection import DetectionLossConfig, build_criterion, decode_detections
from sleuth.tasks.detection_loss import LossReport
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import Match, SetPrediction
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.rtdetr_original import rtdetr_original
from sleuth.weights.origins.original import open_original, write_original

CONFIG = RtDetrConfig(
    backbone="resnet18",
    frozen_norm=False,
    num_queries=100,
    decoder_layers=3,
    encoder_expansion=0.5,
    # The original's quirk shows in the fixture that is no square.
    positions="original",
)
LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0)
KEYS = rtdetr_original(2)


def _model(fixture: Fixture) -> RtDetr:
    model = build_rtdetr(CONFIG)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(KEYS.load(fixture.weights, wanted))
    return model.eval()


def _images(fixture: Fixture) -> ImageBatch:
    pixels = fixture.images()
    return ImageBatch(pixels=pixels, valid=torch.ones(len(pixels), *pixels.shape[-2:], dtype=torch.bool))


@pytest.fixture(scope="module")
def square(golden: Path) -> Fixture:
    return load_fixture(golden, "rtdetrv2_r18")


@pytest.fixture(scope="module")
def square_model(square: Fixture) -> RtDetr:
    return _model(square)


@pytest.fixture(scope="module")
def square_run(square: Fixture, square_model: RtDetr) -> SetPrediction:
    with torch.no_grad():
        return square_model(_images(square))


def test_answers_agree(square: Fixture, square_run: SetPrediction) -> None:
    square.check("pred_logits", square_run.logits[-1])
    square.check("pred_boxes", square_run.boxes_cxcywh[-1])


def test_picked_queries_agree(square: Fixture, square_model: RtDetr) -> None:
    with torch.no_grad():
        memory = square_model.encode(_images(square))
        picked: TopKQueries = square_model.queries(memory.tokens, memory.grids_hw)
    square.check("enc/topk_indices", picked.tokens)
    square.check("init_reference_unact", picked.references)
    square.check("init_content_first20", picked.content[:, :20])


def test_decoding_agrees(square: Fixture, square_run: SetPrediction) -> None:
    # Their sizes are width and height.
    sizes = [(int(h), int(w)) for w, h in square.tensors["in/orig_sizes"].tolist()]
    (found,) = decode_detections(square_run, sizes)
    square.check("postprocess/0/scores", found.scores)
    square.check("postprocess/0/labels", found.labels)
    square.check("postprocess/0/boxes", found.boxes_xyxy_px)


def test_fused_answers_agree(square: Fixture, square_model: RtDetr) -> None:
    with torch.no_grad(), FoldedConvolutions(square_model):
        run = square_model(_images(square))
    square.check("deploy/pred_logits", run.logits[-1])
    square.check("deploy/pred_boxes", run.boxes_cxcywh[-1])


def test_the_key_map_inverts(square: Fixture, square_model: RtDetr) -> None:
    exported = KEYS.export(square_model.state_dict())
    kept = {key: value for key, value in square.weights.items() if key not in square.spec["constructed"]}
    assert exported.keys() == kept.keys()
    for key, value in kept.items():
        assert torch.equal(exported[key], value), key


def test_checkpoints_are_read_and_written_with_their_constants(square: Fixture, tmp_path: Path) -> None:
    path = tmp_path / "rtdetrv2_r18vd_120e_coco.pth"
    torch.save({"model": {}, "ema": {"module": square.weights, "updates": 7}}, path)
    loaded = open_original(path, num_queries=100)
    assert loaded.config == CONFIG
    assert (loaded.card.names[0], loaded.card.category_ids[79], loaded.preprocess.size_hw) == ("person", 90, (640, 640))
    assert loaded.loss == LOSS
    preprocess = loaded.card.preprocess | {"size_hw": (320, 320)}
    loaded = LoadedModel(loaded.model, replace(loaded.card, preprocess=preprocess))
    write_original(tmp_path / "again.pth", loaded)
    written = torch.load(tmp_path / "again.pth", weights_only=True)["model"]
    assert written.keys() == square.weights.keys()
    for key, value in square.weights.items():
        torch.testing.assert_close(written[key], value, rtol=1e-6, atol=1e-6, msg=key)
    again = open_original(tmp_path / "again.pth")
    assert (again.config, again.preprocess, again.card.names) == (loaded.config, loaded.preprocess, loaded.card.names)
    wide = LoadedModel(loaded.model, replace(loaded.card, config=loaded.card.config | {"backbone_width": 32}))
    with pytest.raises(UserError, match="width 32"):
        write_original(tmp_path / "never.pth", wide)


def test_checkpoints_of_version_1_have_other_names(square: Fixture, square_model: RtDetr, tmp_path: Path) -> None:
    tensors = rtdetr_original(1).export(square_model.state_dict())
    assert "decoder.enc_output.0.weight" in tensors
    assert "encoder.input_proj.0.1.running_var" in tensors
    path = tmp_path / "rtdetr_r18vd_dec3_6x_coco.pth"
    torch.save({"ema": {"module": tensors}}, path)
    loaded = open_original(path, num_queries=100)
    assert loaded.config == replace(CONFIG, version=1)
    with torch.no_grad():
        run = loaded.model(_images(square))
    square.check("pred_logits", run.logits[-1])
    del tensors["decoder.input_proj.2.conv.weight"]
    torch.save(tensors, path)
    with pytest.raises(UserError, match=r"num_points = \(6, 6\)"):
        open_original(path)


class Step:
    """One training step with the fixture's own noise, norms as in evaluation."""

    def __init__(self, fixture: Fixture) -> None:
        tensors = fixture.tensors
        self.fixture = fixture
        self.model = _model(fixture).train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        self.targets = [
            Target(labels=tensors[f"in/targets_a/{i}/labels"], boxes_cxcywh=tensors[f"in/targets_a/{i}/boxes"])
            for i in range(2)
        ]
        self.noise = Noise(
            label_chance=tensors["in/dn/label_p"],
            other_label=tensors["in/dn/new_label"],
            sign=2 * tensors["in/dn/box_sign_bit"] - 1,
            part=tensors["in/dn/box_part"],
        )
        self.run: SetPrediction = self.model(_images(fixture), self.targets, self.noise)
        self.report: LossReport = build_criterion(LOSS)(self.run, self.targets)
        self.report.total.backward()


@pytest.fixture(scope="module")
def step(golden: Path) -> Step:
    return Step(load_fixture(golden, "rtdetrv2_r18_train"))


def test_every_layer_agrees_while_training(step: Step) -> None:
    run, check = step.run, step.fixture.check
    for layer in range(2):
        check(f"aux{layer}/pred_logits_first30", run.logits[layer][:, :30])
        check(f"aux{layer}/pred_boxes", run.boxes_cxcywh[layer])
    check("pred_logits", run.logits[-1])
    check("pred_boxes", run.boxes_cxcywh[-1])
    assert run.proposals is not None
    check("enc_aux/pred_logits_first30", run.proposals.logits[:, :30])
    check("enc_aux/pred_boxes", run.proposals.boxes_cxcywh)


def test_denoising_agrees(step: Step) -> None:
    run, check = step.run, step.fixture.check
    assert step.model.denoising is not None
    made = step.model.denoising(step.targets, 100, torch.device("cpu"), step.noise)
    check("dn/noised_labels", made.labels)
    check("dn/query_boxes_unact", made.references)
    assert made.groups == step.fixture.spec["values"]["dn_meta"]["num_group"]
    assert run.denoising is not None
    for layer in range(3):
        check(f"dn/aux{layer}_pred_boxes", run.denoising.boxes_cxcywh[layer])
    check("dn/last_pred_logits_first30", run.denoising.logits[-1][:, :30])


def test_matches_agree(step: Step) -> None:
    def rows(match: Match) -> Tensor:
        return torch.stack((match.picture, match.query, match.target), dim=1)

    names = ("match_aux0", "match_aux1", "match_last", "match_enc")
    for name, match in zip(names, step.report.matches[:4], strict=True):
        step.fixture.check(f"targets_a/{name}", rows(match))


def test_losses_agree(step: Step) -> None:
    terms = {"loss_vfl": ("class", 1.0), "loss_bbox": ("l1", 5.0), "loss_giou": ("giou", 2.0)}
    suffixes = {"": "", "_aux_0": "_0", "_aux_1": "_1", "_enc_0": "_proposals"}
    suffixes |= {f"_dn_{layer}": f"_denoising_{layer}" for layer in range(3)}
    for theirs, (term, weight) in terms.items():
        for suffix, name in suffixes.items():
            value = weight * step.report.parts[term + name].item()
            step.fixture.check_value(f"targets_a/loss_dict/{theirs}{suffix}", value)
    assert len(step.report.parts) == len(terms) * len(suffixes)
    step.fixture.check_value("targets_a/weighted_total", step.report.total.item())


def test_gradient_norms_agree(step: Step) -> None:
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in step.model.named_parameters()}
    theirs = KEYS.export(gradients)
    listed = step.fixture.spec["values"]["targets_a"]["grad_norm"]
    assert len(listed) > 20
    for key in listed:
        step.fixture.check_value(f"targets_a/grad_norm/{key}", theirs[key].double().norm().item())
