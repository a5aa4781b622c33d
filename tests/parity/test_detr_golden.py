"""DETR against the original implementation, on weights that anyone can regenerate."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from golden_fixture import Fixture, load_fixture

from sleuth.explain.record import record_attention
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import DetectionLossConfig, build_criterion, decode_detections
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.maps.detr_original import DETR_ORIGINAL


def _model(fixture: Fixture, *, dilation: bool) -> Detr:
    model = build_detr(DetrConfig(dilation=dilation, dropout=0.0))
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(DETR_ORIGINAL.load(fixture.weights, wanted))
    model.backbone.freeze_stem()
    return model.eval()


def _images(fixture: Fixture) -> ImageBatch:
    return ImageBatch(pixels=fixture.images(), valid=~fixture.tensors["in/mask"])


def _targets(fixture: Fixture, name: str) -> list[Target]:
    tensors = fixture.tensors
    return [
        Target(labels=tensors[f"in/{name}/{i}/labels"], boxes_cxcywh=tensors[f"in/{name}/{i}/boxes"]) for i in range(2)
    ]


@pytest.fixture(scope="module")
def r50(golden: Path) -> Fixture:
    return load_fixture(golden, "detr_r50")


@pytest.fixture(scope="module")
def r50_model(r50: Fixture) -> Detr:
    return _model(r50, dilation=False)


@pytest.fixture(scope="module")
def r50_run(r50: Fixture, r50_model: Detr) -> SetPrediction:
    return r50_model(_images(r50))


def test_every_decoder_layer_agrees(r50: Fixture, r50_run: SetPrediction) -> None:
    for layer in range(5):
        r50.check(f"aux{layer}/pred_logits", r50_run.logits[layer])
        r50.check(f"aux{layer}/pred_boxes", r50_run.boxes_cxcywh[layer])
    r50.check("pred_logits", r50_run.logits[-1])
    r50.check("pred_boxes", r50_run.boxes_cxcywh[-1])


def test_memory_positions_and_features_agree(r50: Fixture, r50_model: Detr, r50_run: SetPrediction) -> None:
    ((height, width),) = r50_run.memory.grids_hw
    grid = (2, height, width)
    assert r50_run.memory.valid is not None
    r50.check("feature_mask", ~r50_run.memory.valid.view(grid))
    r50.check("memory", r50_run.memory.tokens.transpose(1, 2).unflatten(2, (height, width)))
    r50.check("pos", r50_run.memory.pos.transpose(1, 2).unflatten(2, (height, width)))
    with torch.no_grad():
        features = r50_model.backbone(_images(r50).pixels)
        r50.check("backbone_feature_every32nd_channel", features[:, ::32])
        r50.check("input_proj", r50_model.input_proj(features))


def test_attention_weights_agree(r50: Fixture, r50_model: Detr) -> None:
    with torch.no_grad(), record_attention(r50_model) as maps:
        r50_model(_images(r50))
    r50.check("encoder0_self_attn", maps["encoder.layers.0.self_attention"])
    r50.check("encoder5_self_attn", maps["encoder.layers.5.self_attention"])
    r50.check("decoder5_cross_attn", maps["decoder.layers.5.cross_attention"])
    r50.check("decoder5_self_attn", maps["decoder.layers.5.self_attention"])


@pytest.mark.parametrize("name", ["targets_a", "targets_b"])
def test_matches_and_losses_agree(r50: Fixture, r50_run: SetPrediction, name: str) -> None:
    report = build_criterion(DetectionLossConfig())(r50_run, _targets(r50, name))
    for layer, match in enumerate(report.matches):
        rows = torch.stack((match.picture, match.query, match.target), dim=1)
        r50.check(f"{name}/match_layer{layer}", rows)
    ours = {"loss_ce": "class", "loss_bbox": "l1", "loss_giou": "giou"}
    for theirs, term in ours.items():
        for suffix in ["", *(f"_{layer}" for layer in range(5))]:
            r50.check_value(f"{name}/loss_dict/{theirs}{suffix}", report.parts[term + suffix].item())
    r50.check_value(f"{name}/weighted_total", report.total.item())


@pytest.mark.parametrize("name", ["targets_a", "targets_b"])
def test_gradient_norms_agree(r50: Fixture, name: str) -> None:
    model = _model(r50, dilation=False)
    build_criterion(DetectionLossConfig())(model(_images(r50)), _targets(r50, name)).total.backward()
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in model.named_parameters()}
    theirs = DETR_ORIGINAL.export(gradients)
    listed = r50.spec["values"][name]["grad_norm"]
    assert len(listed) == 19
    for key in listed:
        r50.check_value(f"{name}/grad_norm/{key}", theirs[key].double().norm().item())
    # The first layer's states are zero, so this gradient is zero but for rounding; its neighbours are of order 10.
    assert theirs["transformer.decoder.layers.0.self_attn.in_proj_weight"].norm() < 1e-5


def test_decoding_agrees(r50: Fixture, r50_run: SetPrediction) -> None:
    sizes = [(int(h), int(w)) for h, w in r50.tensors["in/orig_sizes"].tolist()]
    for picture, found in enumerate(decode_detections(r50_run, sizes)):
        # The original lists queries in their order; ours come best first.
        order = r50.tensors[f"out/postprocess/{picture}/scores"].argsort(descending=True, stable=True)
        back = order.argsort()
        r50.check(f"postprocess/{picture}/scores", found.scores[back])
        r50.check(f"postprocess/{picture}/boxes", found.boxes_xyxy_px[back])
        r50.check(f"postprocess/{picture}/labels", found.labels[back])


def test_dc5_agrees(golden: Path) -> None:
    fixture = load_fixture(golden, "detr_r50_dc5")
    with torch.no_grad():
        run = _model(fixture, dilation=True)(_images(fixture))
    fixture.check("pred_logits", run.logits[-1])
    fixture.check("pred_boxes", run.boxes_cxcywh[-1])
    fixture.check("memory", run.memory.tokens.transpose(1, 2).unflatten(2, run.memory.grids_hw[0]))


def test_the_key_map_inverts(r50: Fixture, r50_model: Detr) -> None:
    exported = DETR_ORIGINAL.export(r50_model.state_dict())
    kept = {key: value for key, value in r50.weights.items() if not key.endswith("num_batches_tracked")}
    assert exported.keys() == kept.keys()
    for key, value in kept.items():
        assert torch.equal(exported[key], value), key
