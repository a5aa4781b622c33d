"""The set loss: what it is divided by, what counts, and that several small batches make one large one."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_giou
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig, LossReport
from sleuth.types.batches import Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

LAYERS, QUERIES, CLASSES = 3, 6, 4
PLAIN = DetectionLossConfig()
NAN = float("nan")


def predict(batch: int, *, memory: bool = False, valid: Tensor | None = None, layers: int = LAYERS) -> SetPrediction:
    tokens = torch.randn(batch, 6, 8)
    return SetPrediction(
        logits=torch.randn(layers, batch, QUERIES, CLASSES + 1),
        boxes_cxcywh=torch.rand(layers, batch, QUERIES, 4),
        memory=Memory(tokens=tokens, pos=tokens, valid=valid, grids_hw=((2, 3),)),
        memory_logits=torch.randn(batch, 6, CLASSES + 1) if memory else None,
        memory_boxes_cxcywh=torch.rand(batch, 6, 4) if memory else None,
    )


def targets(*counts: int) -> list[Target]:
    return [Target(labels=torch.randint(0, CLASSES, (n,)), boxes_cxcywh=torch.rand(n, 4)) for n in counts]


def part_of(prediction: SetPrediction, rows: slice) -> SetPrediction:
    """Some pictures of a batch."""
    memory = prediction.memory
    return SetPrediction(
        logits=prediction.logits[:, rows],
        boxes_cxcywh=prediction.boxes_cxcywh[:, rows],
        memory=replace(
            memory,
            tokens=memory.tokens[rows],
            pos=memory.pos[rows],
            valid=None if memory.valid is None else memory.valid[rows],
        ),
        memory_logits=None if prediction.memory_logits is None else prediction.memory_logits[rows],
        memory_boxes_cxcywh=None if prediction.memory_boxes_cxcywh is None else prediction.memory_boxes_cxcywh[rows],
    )


def loss(prediction: SetPrediction, wanted: list[Target], config: DetectionLossConfig = PLAIN) -> LossReport:
    return DetectionLoss(config)(prediction, wanted)


def test_the_default_weights_are_the_papers() -> None:
    assert (PLAIN.class_weight, PLAIN.l1_weight, PLAIN.giou_weight, PLAIN.no_object_weight) == (1.0, 5.0, 2.0, 0.1)


def test_every_part_by_hand() -> None:
    prediction, wanted = predict(2), targets(3, 1)
    report = loss(prediction, wanted)
    class_weight = torch.tensor([1.0] * CLASSES + [0.1])
    for layer, match in enumerate(report.matches):
        labels = torch.full((2, QUERIES), CLASSES)
        true = torch.stack(
            [wanted[p].boxes_cxcywh[t] for p, t in zip(match.picture.tolist(), match.target.tolist(), strict=True)]
        )
        for p, q, t in zip(match.picture.tolist(), match.query.tolist(), match.target.tolist(), strict=True):
            labels[p, q] = wanted[p].labels[t]
        predicted = prediction.boxes_cxcywh[layer, match.picture, match.query]
        name = "" if layer == LAYERS - 1 else f"_{layer}"
        expected = {
            "class": F.cross_entropy(prediction.logits[layer].transpose(1, 2), labels, weight=class_weight),
            "l1": (predicted - true).abs().sum() / 4,
            "giou": (1 - paired_giou(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(true))).sum() / 4,
        }
        for term, value in expected.items():
            torch.testing.assert_close(report.parts[term + name], value)


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    config = DetectionLossConfig(class_weight=2.0, l1_weight=3.0, giou_weight=0.5, encoder_weight=0.25)
    report = loss(predict(2, memory=True), targets(3, 1), config)
    weight = {"class": 2.0, "l1": 3.0, "giou": 0.5}
    expected = sum(
        weight[name.split("_")[0]] * (0.25 if name.endswith("memory") else 1.0) * value.item()
        for name, value in report.parts.items()
    )
    assert report.total.item() == pytest.approx(expected, rel=1e-5)


def test_parts_are_named_by_layer() -> None:
    names = {"class", "l1", "giou"}
    every = {name + suffix for name in names for suffix in ("", "_0", "_1")}
    assert loss(predict(1), targets(2)).parts.keys() == every
    assert loss(predict(1, memory=True), targets(2)).parts.keys() == every | {f"{name}_memory" for name in names}
    alone = DetectionLossConfig(auxiliary=False)
    assert loss(predict(1), targets(2), alone).parts.keys() == names
    assert len(loss(predict(1), targets(2), alone).matches) == 1
    assert loss(predict(1, layers=1), targets(2)).parts.keys() == names


def test_without_auxiliary_losses_the_last_layer_pays_the_same() -> None:
    prediction, wanted = predict(2), targets(3, 1)
    every, last = loss(prediction, wanted), loss(prediction, wanted, DetectionLossConfig(auxiliary=False))
    for term in ("class", "l1", "giou"):
        assert torch.equal(every.parts[term], last.parts[term])


def test_class_loss_is_not_divided_by_the_number_of_boxes() -> None:
    """It is a weighted mean: the same picture twice has the same loss."""
    prediction, (wanted,) = predict(1), targets(3)
    twice = part_of(prediction, slice(None))
    twice = replace(
        twice,
        logits=prediction.logits.repeat(1, 2, 1, 1),
        boxes_cxcywh=prediction.boxes_cxcywh.repeat(1, 2, 1, 1),
        memory=replace(
            prediction.memory,
            tokens=prediction.memory.tokens.repeat(2, 1, 1),
            pos=prediction.memory.pos.repeat(2, 1, 1),
        ),
    )
    one, two = loss(prediction, [wanted]), loss(twice, [wanted, wanted])
    for name in one.parts:
        torch.testing.assert_close(one.parts[name], two.parts[name])


@pytest.mark.parametrize("memory", [False, True])
def test_pictures_without_objects_pay_for_classes_only(memory: bool) -> None:
    prediction = predict(2, memory=memory)
    leaf = prediction.logits.requires_grad_()
    report = loss(prediction, targets(0, 0))
    report.total.backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.isfinite().all())
    assert all(value.item() == 0 for name, value in report.parts.items() if not name.startswith("class"))
    no_object = -prediction.logits[-1].log_softmax(-1)[..., -1].mean()
    torch.testing.assert_close(report.parts["class"], no_object.detach())


def test_box_losses_of_an_empty_batch_are_divided_by_one() -> None:
    criterion = DetectionLoss(PLAIN)
    assert criterion.counts(targets(0, 0), QUERIES).tolist() == pytest.approx([0.0, 0.1 * 2 * QUERIES])
    prediction, wanted = predict(1), targets(2)
    scarce = criterion(prediction, wanted, counts=torch.tensor([0.5, 1.0]))  # on average half a box a process
    assert scarce.parts["l1"].item() == pytest.approx(2 * loss(prediction, wanted).parts["l1"].item(), rel=1e-5)


def test_counts_know_of_objects_that_find_no_query() -> None:
    counts = DetectionLoss(PLAIN).counts(targets(QUERIES + 3, 1), QUERIES)
    assert counts.tolist() == pytest.approx([QUERIES + 4, QUERIES + 1 + 0.1 * (QUERIES - 1)])
    report = loss(predict(1), targets(QUERIES + 3))
    assert bool(report.total.isfinite())
    assert len(report.matches[0].query) == QUERIES


@pytest.mark.parametrize("memory", [False, True])
def test_two_half_batches_with_averaged_counts_are_the_whole_batch(memory: bool) -> None:
    """The mean of the halves' losses and gradients: what two processes, or two accumulated batches, compute."""
    criterion = DetectionLoss(PLAIN)
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[1, 4:] = False
    prediction, wanted = predict(4, memory=memory, valid=valid), targets(3, 0, 5, 1)
    halves = [slice(0, 2), slice(2, 4)]

    def gradient(run: SetPrediction, rows: list[slice]) -> tuple[float, Tensor]:
        leaf = run.logits.clone().requires_grad_()
        run = replace(run, logits=leaf)
        shares = [criterion.counts(wanted[at], QUERIES) for at in rows]
        counts = torch.stack(shares).mean(0)
        total = torch.stack([criterion(part_of(run, at), wanted[at], counts).total for at in rows]).mean()
        total.backward()
        assert leaf.grad is not None
        return total.item(), leaf.grad

    (whole, whole_gradient), (mean, mean_gradient) = (gradient(prediction, rows) for rows in ([slice(0, 4)], halves))
    assert mean == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(mean_gradient, whole_gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("memory", [False, True])
def test_order_of_objects_and_queries_does_not_matter(memory: bool) -> None:
    prediction, wanted = predict(2, memory=memory), targets(4, 3)
    shuffled = [
        Target(labels=t.labels[order], boxes_cxcywh=t.boxes_cxcywh[order])
        for t in wanted
        for order in [torch.randperm(len(t.labels))]
    ]
    order = torch.randperm(QUERIES)
    mixed = replace(
        prediction, logits=prediction.logits[:, :, order], boxes_cxcywh=prediction.boxes_cxcywh[:, :, order]
    )
    before, after = loss(prediction, wanted), loss(mixed, shuffled)
    for name in before.parts:
        torch.testing.assert_close(before.parts[name], after.parts[name], atol=1e-5, rtol=1e-5)


def test_a_perfect_prediction_pays_almost_nothing() -> None:
    wanted = [
        Target(labels=torch.tensor([1, 3]), boxes_cxcywh=torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.3]]))
    ]
    prediction = predict(1)
    prediction.logits.fill_(-20.0)[..., CLASSES] = 20.0
    for query, place in ((4, 0), (1, 1)):
        prediction.boxes_cxcywh[:, 0, query] = wanted[0].boxes_cxcywh[place]
        prediction.logits[:, 0, query] = -20.0
        prediction.logits[:, 0, query, wanted[0].labels[place]] = 20.0
    assert loss(prediction, wanted).total.item() == pytest.approx(0.0, abs=1e-4)


def test_boxes_without_area_have_finite_loss_and_gradient() -> None:
    prediction = predict(1)
    boxes = prediction.boxes_cxcywh
    boxes[..., 2:] = 0.0
    leaf = boxes.requires_grad_()
    points = [
        Target(labels=torch.tensor([0, 1]), boxes_cxcywh=torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.1, 0.1, 0.0, 0.4]]))
    ]
    report = loss(prediction, points)
    report.total.backward()
    assert leaf.grad is not None
    assert bool(report.total.isfinite() & leaf.grad.isfinite().all())


def test_broken_predictions_give_a_loss_that_says_so_and_raise_nothing() -> None:
    prediction = predict(1)
    prediction.logits[0, 0, 0] = NAN
    prediction.boxes_cxcywh[:, 0] = NAN
    assert not bool(loss(prediction, targets(2)).total.isfinite())


def test_parts_carry_no_graph_and_the_total_does() -> None:
    prediction = predict(1)
    prediction.logits.requires_grad_()
    report = loss(prediction, targets(2))
    assert report.total.requires_grad
    assert not any(value.requires_grad for value in report.parts.values())


def test_memory_tokens_on_padding_pay_nothing() -> None:
    valid = torch.tensor([[True, True, False, True, True, False]])
    prediction, wanted = predict(1, memory=True, valid=valid), targets(2)
    before = loss(prediction, wanted)
    assert prediction.memory_logits is not None
    assert prediction.memory_boxes_cxcywh is not None
    prediction.memory_logits[0, [2, 5]] = 30 * torch.randn(2, CLASSES + 1)
    prediction.memory_boxes_cxcywh[0, [2, 5]] = torch.rand(2, 4)
    after = loss(prediction, wanted)
    for name in before.parts:
        assert torch.equal(before.parts[name], after.parts[name]), name


def test_each_object_weighs_one_on_the_memory_however_many_tokens_it_has() -> None:
    prediction = predict(1, memory=True)
    large = [Target(labels=torch.tensor([2]), boxes_cxcywh=torch.tensor([[0.5, 0.5, 2.0, 2.0]]))]
    criterion = DetectionLoss(PLAIN)
    report = criterion(prediction, large, counts=torch.tensor([1.0, 1.0]))
    assert prediction.memory_logits is not None
    assert prediction.memory_boxes_cxcywh is not None
    surprise = -prediction.memory_logits[0].log_softmax(-1)[:, 2].mean()
    torch.testing.assert_close(report.parts["class_memory"], surprise)
    far = (prediction.memory_boxes_cxcywh[0] - large[0].boxes_cxcywh).abs().sum(-1).mean()
    torch.testing.assert_close(report.parts["l1_memory"], far)


def test_encoder_weight_zero_leaves_the_memory_out() -> None:
    report = loss(predict(1, memory=True), targets(2), DetectionLossConfig(encoder_weight=0.0))
    assert not [name for name in report.parts if name.endswith("memory")]


def with_masks(prediction: SetPrediction, masks: Tensor) -> SetPrediction:
    """The prediction with a reader of given mask logits [batch, queries, h, w]."""
    height, width = masks.shape[-2:]
    memory = replace(prediction.memory, input_hw=(4 * height, 4 * width))
    return replace(prediction, memory=memory, masks=lambda picture, query: masks[picture, query])


def masked(wanted: list[Target], size: int = 16) -> list[Target]:
    return [replace(each, masks=torch.rand(len(each.labels), size, size) > 0.5) for each in wanted]


def test_only_matched_queries_of_the_last_layer_pay_for_masks() -> None:
    masks = torch.randn(2, QUERIES, 4, 4, requires_grad=True)
    prediction, wanted = with_masks(predict(2), masks), masked(targets(3, 1))
    report = loss(prediction, wanted)
    assert {"mask", "dice"} <= set(report.parts)
    report.total.backward()
    last = report.matches[-1]
    assert masks.grad is not None
    paid = masks.grad.abs().sum((-1, -2)) > 0
    matched = torch.zeros_like(paid)
    matched[last.picture, last.query] = True
    assert torch.equal(paid, matched)


def test_mask_losses_are_weighted_and_divided_by_the_number_of_boxes() -> None:
    prediction, wanted = with_masks(predict(2), torch.randn(2, QUERIES, 4, 4)), masked(targets(2, 2))
    light, heavy = (
        loss(prediction, wanted, replace(PLAIN, mask_weight=weight, dice_weight=2 * weight)) for weight in (1.0, 3.0)
    )
    extra = 2 * light.parts["mask"] + 4 * light.parts["dice"]
    torch.testing.assert_close(heavy.total - light.total, extra)
    halved = DetectionLoss(PLAIN)(prediction, wanted, DetectionLoss(PLAIN).counts(wanted, QUERIES) * 2)
    torch.testing.assert_close(halved.parts["dice"], light.parts["dice"] / 2)


def test_few_points_stand_for_all_pixels() -> None:
    prediction, wanted = with_masks(predict(1), torch.zeros(1, QUERIES, 4, 4)), masked(targets(3))
    whole, points = (loss(prediction, wanted, replace(PLAIN, mask_points=count)) for count in (0, 200))
    assert whole.parts["mask"] != points.parts["mask"]
    torch.testing.assert_close(points.parts["mask"], whole.parts["mask"], rtol=0.2, atol=0)


def test_a_batch_without_objects_still_sends_the_mask_head_a_gradient() -> None:
    masks = torch.randn(2, QUERIES, 4, 4, requires_grad=True)
    report = loss(with_masks(predict(2), masks), targets(0, 0))
    report.total.backward()
    assert report.parts["mask"] == 0
    assert masks.grad is not None
    assert masks.grad.abs().sum() == 0


def test_some_masks_stand_for_all() -> None:
    masks = torch.randn(2, QUERIES, 4, 4, requires_grad=True)
    prediction, wanted = with_masks(predict(2), masks), masked(targets(5, 5))
    report = loss(prediction, wanted, replace(PLAIN, mask_limit=3))
    report.total.backward()
    assert masks.grad is not None
    assert int((masks.grad.abs().sum((-1, -2)) > 0).sum()) == 3
    drawn = [loss(prediction, wanted, replace(PLAIN, mask_limit=3)).parts["dice"] for _ in range(60)]
    whole = loss(prediction, wanted).parts["dice"]
    torch.testing.assert_close(torch.stack(drawn).mean(), whole, rtol=0.02, atol=0)
    few = replace(PLAIN, mask_limit=10)
    torch.testing.assert_close(loss(prediction, wanted, few).parts["dice"], whole)
