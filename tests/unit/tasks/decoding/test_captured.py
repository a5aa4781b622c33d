"""Steps of fixed shapes give what the model's own give, whoever leaves, and however many caches there are."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sleuth.nn.turned import TurnedWeights
from sleuth.tasks.decoding import DecodingOptions, prepare, translate_ids
from sleuth.tasks.decoding.captured import CapturedSteps
from sleuth.tasks.decoding.prepared import Prepared

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import some_sentences, writer

SEARCHES = [
    DecodingOptions(max_length=40),
    DecodingOptions(max_length=40, beams=3, n_best=2),
    DecodingOptions(max_length=20, sample=True, n_best=2, word_scores=True),
]


class Recorder:
    """Stands in for a GPU: a recorded step is run again, into the tensor that it gave first."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recorded += 1
        states = run()

        def play() -> Tensor:
            self.played += 1
            return states.copy_(run())

        return play


@pytest.mark.parametrize("options", SEARCHES)
def test_recorded_steps_change_no_word(options: DecodingOptions) -> None:
    model, sentences, recorder = writer(), some_sentences(13, longest=30), Recorder()
    with torch.inference_mode():
        steps = CapturedSteps(model, recorder)
    prepared = Prepared(TurnedWeights(()), steps=steps)
    expected = translate_ids(model, sentences, options)
    for size in (64, 1, 5):
        found = translate_ids(model, sentences, options, prepared=prepared, max_sentences=size)
        assert [[each.ids for each in one] for one in found] == [[each.ids for each in one] for one in expected]
    assert 0 < recorder.recorded < 16
    assert recorder.played > 5 * recorder.recorded


def test_a_prefix_goes_through_the_model_first() -> None:
    model, options = writer(), DecodingOptions(max_length=12)
    prepared = Prepared(TurnedWeights(()), steps=CapturedSteps(model, Recorder()))
    sentences, prefixes = [[4, 5, 6], [7]], [[8, 9], [5, 6]]
    found = translate_ids(model, sentences, options, prefixes=prefixes, prepared=prepared)
    assert found == translate_ids(model, sentences, options, prefixes=prefixes)


def test_two_caches_of_one_size_do_not_disturb_each_other() -> None:
    model = writer()
    steps = CapturedSteps(model, Recorder())
    sources = torch.tensor([[4, 5, 6]]), torch.tensor([[9, 8, 7]])
    with torch.inference_mode():
        caches = [model.start(model.encode(source)) for source in sources]
        plain = [model.start(model.encode(source)) for source in sources]
        for _ in range(5):
            for word, (cache, other) in enumerate(zip(caches, plain, strict=True), start=3):
                new = torch.tensor([[word]])
                assert torch.allclose(steps.advance(new, cache), model.advance(new, other), atol=1e-5)
    assert [cache.length for cache in caches] == [5, 5]


def test_buffers_are_not_hoarded() -> None:
    model = writer(eos=-9.0)
    steps = CapturedSteps(model, Recorder())
    prepared = Prepared(TurnedWeights(()), steps=steps)
    for length in range(1, 60, 2):
        translate_ids(model, [[5] * length], DecodingOptions(max_length=2, beams=1 + length % 3), prepared=prepared)
    assert len(steps._buffers) <= 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="recording steps needs a GPU")
@pytest.mark.parametrize("options", SEARCHES)
def test_a_gpu_plays_what_it_recorded(options: DecodingOptions) -> None:
    model, sentences = writer().cuda(), some_sentences(13, longest=30)
    prepared = prepare(model)
    assert prepared.steps is not None
    found = translate_ids(model, sentences, options, prepared=prepared)
    expected = translate_ids(model, sentences, options)
    assert [[each.ids for each in one] for one in found] == [[each.ids for each in one] for one in expected]
