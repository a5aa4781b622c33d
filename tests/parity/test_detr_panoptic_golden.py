"""DETR's mask head, mask losses and panoptic merging against the original implementation."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from golden_fixture import Fixture, load_fixture

from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import DetectionLossConfig, build_criterion, decode_detections
from sleuth.tasks.segmentation import decode_panoptic, read_masks
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.maps.detr_original import DETR_ORIGINAL_MASKS

SIZES_HW = ((96, 128), (128, 96))
"""The unpadded pictures, as the fixture's note has them."""


@pytest.fixture(scope="module")
def panoptic(golden: Path) -> Fixture:
    return load_fixture(golden, "detr_r50_panoptic")


@pytest.fixture(scope="module")
def model(panoptic: Fixture) -> Detr:
    model = build_detr(DetrConfig(num_classes=250, dropout=0.0, masks=True))
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(DETR_ORIGINAL_MASKS.load(panoptic.weights, wanted))
    model.backbone.freeze_stem()
    return model.eval()


@pytest.fixture(scope="module")
def prediction(panoptic: Fixture, model: Detr) -> SetPrediction:
    with torch.no_grad():
        return model(ImageBatch(pixels=panoptic.images(), valid=~panoptic.tensors["in/mask"]))


def _original_hw(panoptic: Fixture, picture: int) -> tuple[int, int]:
    height, width = panoptic.tensors["in/orig_sizes"][picture].tolist()
    return height, width


def test_boxes_classes_and_masks_of_every_query_agree(panoptic: Fixture, prediction: SetPrediction) -> None:
    panoptic.check("pred_logits", prediction.logits[-1])
    panoptic.check("pred_boxes", prediction.boxes_cxcywh[-1])
    picture, query = torch.arange(2).repeat_interleave(100), torch.arange(100).repeat(2)
    assert prediction.masks is not None
    with torch.no_grad():
        panoptic.check("pred_masks", prediction.masks(picture, query).unflatten(0, (2, 100)))


def test_a_query_s_mask_does_not_depend_on_what_else_is_asked(prediction: SetPrediction) -> None:
    assert prediction.masks is not None
    with torch.no_grad():
        all_of_them = prediction.masks(torch.ones(100, dtype=torch.int64), torch.arange(100))
        one = prediction.masks(torch.tensor([1]), torch.tensor([37]))
    torch.testing.assert_close(one[0], all_of_them[37], rtol=0, atol=1e-5)


def test_attention_over_heads_and_pixels_agrees(panoptic: Fixture, model: Detr, prediction: SetPrediction) -> None:
    assert model.mask_head is not None
    seen = []
    hook = model.mask_head.attention.register_forward_hook(lambda module, given, maps: seen.append(maps))
    with torch.no_grad():
        assert prediction.masks is not None
        prediction.masks(torch.tensor([0]), torch.tensor([0]))
    hook.remove()
    panoptic.check("bbox_attention_every5th_query", seen[0][:, ::5].unflatten(-1, (4, 4)))


def test_losses_and_gradients_agree(panoptic: Fixture, model: Detr) -> None:
    tensors = panoptic.tensors
    targets = [
        Target(
            labels=tensors[f"in/targets_a/{row}/labels"],
            boxes_cxcywh=tensors[f"in/targets_a/{row}/boxes"],
            masks=tensors[f"in/targets_a/{row}/masks"],
        )
        for row in range(2)
    ]
    model.zero_grad()
    prediction = model(ImageBatch(pixels=panoptic.images(), valid=~tensors["in/mask"]))
    report = build_criterion(DetectionLossConfig(mask_points=0))(prediction, targets)
    for ours, theirs in (("class", "loss_ce"), ("l1", "loss_bbox"), ("giou", "loss_giou")):
        panoptic.check_value(f"targets_a/loss_dict/{theirs}", report.parts[ours].item())
    panoptic.check_value("targets_a/loss_dict/loss_mask", report.parts["mask"].item())
    panoptic.check_value("targets_a/loss_dict/loss_dice", report.parts["dice"].item())
    panoptic.check_value("targets_a/weighted_total", report.total.item())
    for layer in range(6):
        match = report.matches[layer]
        panoptic.check(f"targets_a/match_layer{layer}", torch.stack([match.picture, match.query, match.target], dim=1))
    report.total.backward()
    gradients = {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}
    theirs = DETR_ORIGINAL_MASKS.export(gradients)
    for name in panoptic.spec["values"]["targets_a"]["grad_norm"]:
        panoptic.check_value(f"targets_a/grad_norm/{name}", theirs[name].norm().item())


def test_instance_masks_agree(panoptic: Fixture, prediction: SetPrediction) -> None:
    for picture, picture_hw in enumerate(SIZES_HW):
        size_hw = _original_hw(panoptic, picture)
        masks = read_masks(prediction, picture, torch.arange(100), picture_hw=picture_hw, size_hw=size_hw)
        panoptic.check(f"postprocess/{picture}/masks_first4", masks[:4, None].to(torch.uint8))
        areas = panoptic.spec["values"][f"segm_area_image{picture}"]
        for query, area in areas.items():
            assert abs(int(masks[int(query)].sum()) - area) <= max(10, 0.02 * area), query


def test_scores_labels_and_boxes_agree(panoptic: Fixture, prediction: SetPrediction) -> None:
    sizes_hw = [_original_hw(panoptic, picture) for picture in range(2)]
    for picture, found in enumerate(decode_detections(prediction, sizes_hw)):
        # The original keeps the queries' order.
        scores, labels = prediction.logits[-1, picture].softmax(-1)[:, :-1].max(-1)
        order = scores.argsort(descending=True, stable=True)
        assert torch.equal(found.labels, labels[order])
        panoptic.check(f"postprocess/{picture}/scores", scores)
        back = torch.empty_like(found.boxes_xyxy_px)
        back[order] = found.boxes_xyxy_px
        panoptic.check(f"postprocess/{picture}/boxes", back)


def test_panoptic_maps_agree(panoptic: Fixture, prediction: SetPrediction) -> None:
    is_thing = [label <= 90 for label in range(250)]
    for picture, picture_hw in enumerate(SIZES_HW):
        # The original squeezes the padded map into the picture's size; here the padding is cut off. The figures are
        # the original's, so the input is said to be of the picture's size.
        memory = replace(prediction.memory, input_hw=picture_hw)
        squeezed = replace(prediction, logits=prediction.logits * 12, memory=memory)
        found = decode_panoptic(
            squeezed, picture, picture_hw=picture_hw, size_hw=_original_hw(panoptic, picture), is_thing=is_thing
        )
        expected = panoptic.tensors[f"out/panoptic/{picture}/ids"]
        allowed = panoptic.spec["tolerance_f32_vs_f64"]["tensors"][f"panoptic/{picture}/ids"]
        assert (found.segment_ids - 1 != expected).float().mean().item() <= allowed["suggested_max_mismatch_frac"]
        segments = panoptic.spec["values"][f"panoptic_segments_image{picture}"]
        assert [segment.label for segment in found.segments] == [each["category_id"] for each in segments.values()]
        for segment, each in zip(found.segments, segments.values(), strict=True):
            assert abs(segment.area - each["area"]) <= max(10, 0.02 * each["area"])


def test_padding_is_cut_off_before_a_panoptic_map_is_resized(prediction: SetPrediction) -> None:
    sharper = replace(prediction, logits=prediction.logits * 12)
    whole = decode_panoptic(sharper, 0, picture_hw=(128, 128), size_hw=(128, 128), is_thing=[True] * 250)
    found = decode_panoptic(sharper, 0, picture_hw=(96, 128), size_hw=(96, 128), is_thing=[True] * 250)
    queries = {segment.score: segment.id for segment in whole.segments}
    same = [(segment.id, queries[segment.score]) for segment in found.segments if segment.score in queries]
    assert len(same) > 50
    for here, there in same[:10]:
        assert torch.equal(found.segment_ids == here, whole.segment_ids[:96] == there)
