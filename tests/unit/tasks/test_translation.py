"""The loss of translation: PyTorch's, whichever places are asked for and however a batch is divided."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.tasks.translation import TranslationLoss, TranslationLossConfig
from sleuth.types.text import TextBatch, TextMemory, TokenPrediction


def batch(lengths=(4, 2, 1), longest=5) -> TextBatch:
    valid = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    words = torch.randint(3, 9, valid.shape) * valid
    return TextBatch(
        source=words, source_valid=valid, target_in=words, target_out=words, target_valid=valid,
        names=tuple(f"line {i}" for i in range(len(lengths))),
    )  # fmt: skip


def prediction(logits) -> TokenPrediction:
    return TokenPrediction(logits=logits, memory=TextMemory(tokens=torch.zeros(3, 5, 2), valid=None))


def part(whole: TextBatch, rows: slice) -> TextBatch:
    tensors = {name: getattr(whole, name)[rows] for name in vars(whole) if name != "names"}
    return TextBatch(**tensors, names=whole.names[rows])


def test_mean_over_words_and_not_over_padding():
    asked, logits = batch(), torch.randn(3, 5, 9)
    report = TranslationLoss(TranslationLossConfig(smoothing=0.1))(prediction(logits), asked)
    labels = asked.target_out.masked_fill(~asked.target_valid, -100).flatten()
    wanted = F.cross_entropy(logits.flatten(0, 1), labels, label_smoothing=0.1, ignore_index=-100)
    torch.testing.assert_close(report.total, wanted)
    nll = F.cross_entropy(logits.flatten(0, 1), labels, ignore_index=-100)
    torch.testing.assert_close(report.parts["nll"], nll)
    right = (logits.argmax(2) == asked.target_out)[asked.target_valid].float().mean()
    torch.testing.assert_close(report.parts["accuracy"], right)
    assert report.matches == []


def test_only_the_places_that_count_may_be_given():
    asked, logits = batch(), torch.randn(3, 5, 9)
    loss = TranslationLoss(TranslationLossConfig())
    torch.testing.assert_close(
        loss(prediction(logits[asked.target_valid]), asked).total, loss(prediction(logits), asked).total
    )


def test_parts_of_a_batch_with_shared_counts_are_the_whole():
    whole, logits = batch(), torch.randn(3, 5, 9)
    loss = TranslationLoss(TranslationLossConfig())
    parts = [part(whole, slice(0, 1)), part(whole, slice(1, 3))]
    counts = torch.stack([loss.counts(each) for each in parts]).mean(0)
    totals = [
        loss(prediction(logits[rows]), each, counts).total
        for each, rows in zip(parts, (slice(0, 1), slice(1, 3)), strict=True)
    ]
    torch.testing.assert_close(sum(totals) / 2, loss(prediction(logits), whole).total)


def test_a_batch_moves_whole():
    moved = batch().to("meta")
    assert {getattr(moved, name).device.type for name in vars(moved) if name != "names"} == {"meta"}
    assert len(moved) == 3


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_is_a_share(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        TranslationLossConfig(smoothing=smoothing)
