"""The stream of text: every pair once, no batch above its tokens, one order for a seed, exact resume, equal ranks."""

from collections import Counter

import numpy as np
import pytest
import torch

from sleuth.data.text.batches import plan_batches
from sleuth.data.text.numbers import PREFIXES, NumberPairs
from sleuth.data.text.samples import TextPairs, TextSample
from sleuth.data.text.stream import TextStream
from sleuth.errors import UserError
from sleuth.tasks.tokenizer_training import train_tokenizer, vocabulary_tokenizer

WORDS = vocabulary_tokenizer(["<pad>", "<s>", "</s>", "<unk>", *"abcdefghij"])


def corpus(count=157, longest=20) -> TextPairs:
    generator = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(generator.choice(list("abcdefghij"), size=generator.integers(1, longest)))

    return TextPairs(
        [sentence() for _ in range(count)], [sentence() for _ in range(count)], range(1, count + 1), "train.en"
    )


def stream(source=None, **options) -> TextStream:
    return TextStream(corpus() if source is None else source, WORDS, **{"batch_tokens": 64, "seed": 3, **options})


def names(batches) -> list[tuple[str, ...]]:
    return [batch.names for batch in batches]


def test_a_batch_is_the_pairs_that_it_names():
    pairs = corpus()
    by_name = {pairs.load(index).name: pairs.load(index) for index in range(len(pairs))}
    for batch in stream(pairs).epoch(0):
        for row, name in enumerate(batch.names):
            source = batch.source[row][batch.source_valid[row]].tolist()
            wanted = batch.target_out[row][batch.target_valid[row]].tolist()
            given = batch.target_in[row][batch.target_valid[row]].tolist()
            assert source == WORDS.encode(by_name[name].source)
            assert wanted == WORDS.encode(by_name[name].target)
            assert given == [WORDS.start_id, *wanted[:-1]]
        assert (batch.source[~batch.source_valid] == WORDS.pad_id).all()
        assert (batch.target_out[~batch.target_valid] == WORDS.pad_id).all()


@pytest.mark.parametrize("multiple", [1, 4])
def test_tokens_are_bounded_and_sides_are_multiples(multiple):
    for batch in stream(multiple=multiple).epoch(2):
        for side in (batch.source, batch.target_out):
            assert side.numel() <= 64
            assert side.shape[1] % multiple == 0


def test_every_pair_occurs_once_an_epoch():
    served = Counter(name for batch in stream().epoch(5) for name in batch.names)
    assert len(served) == 157
    assert set(served.values()) == {1}


def test_batches_hold_little_padding():
    batches = list(stream(corpus(2000), batch_tokens=512).epoch(0))
    widths = [max(batch.source.shape[1], batch.target_out.shape[1]) for batch in batches]
    longer = [torch.maximum(batch.source_valid.sum(1), batch.target_valid.sum(1)) for batch in batches]
    used = sum(int(lengths.sum()) for lengths in longer)
    assert used / sum(width * len(batch) for width, batch in zip(widths, batches, strict=True)) > 0.93
    # All but a few are full.
    full = [512 - width < width * len(batch) for width, batch in zip(widths, batches, strict=True)]
    assert sum(full) > 0.8 * len(batches)


def test_epochs_differ_and_seeds_differ_but_not_their_length():
    one = stream()
    epochs = [names(one.epoch(epoch)) for epoch in range(3)]
    assert epochs[0] != epochs[1]
    assert {len(epoch) for epoch in epochs} == {len(one)} == {one.batches_per_epoch}
    assert epochs[0] == names(stream().epoch(0))
    assert epochs[0] != names(stream(seed=4).epoch(0))
    # Not only the order of batches: pairs meet others.
    assert {frozenset(batch) for batch in epochs[0]} != {frozenset(batch) for batch in epochs[1]}
    lengths = [batch.source.shape[1] for batch in stream().epoch(0)]
    assert lengths != sorted(lengths)


def test_without_shuffling_batches_go_by_length():
    plain = stream(shuffle=False)
    assert names(plain.epoch(0)) == names(plain.epoch(1))
    widths = [max(batch.source.shape[1], batch.target_out.shape[1]) for batch in plain.epoch(0)]
    assert (widths[0], widths[-1]) == (min(widths), max(widths))


@pytest.mark.parametrize("start", [1, 7])
def test_a_stream_starts_at_any_batch(start):
    assert names(stream().epoch(1, start)) == names(stream().epoch(1))[start:]


def test_ranks_together_see_what_one_process_sees():
    alone = names(stream().epoch(0))
    ranks = [names(stream(rank=rank, world_size=3).epoch(0)) for rank in range(3)]
    assert {len(rank) for rank in ranks} == {len(alone) // 3}
    woven = [batch for step in zip(*ranks, strict=True) for batch in step]
    assert woven == alone[: len(woven)]


def test_fewer_batches_than_ranks_are_repeated():
    small = corpus(2)
    for rank in range(4):
        one = stream(small, rank=rank, world_size=4, batch_tokens=1024)
        assert len(one) == len(list(one.epoch(0))) == 1


def test_empty_long_and_unlike_pairs_are_left_out_and_counted():
    pairs = TextPairs(["a", "", "a b c d e f", "a", "b"], ["a b", "b", "c", " ", "a b c d e f"], range(5), "x")
    kept = stream(pairs, max_tokens=6)
    assert kept.left_out == 4
    assert names(kept.epoch(0)) == [("x, line 0",)]
    assert stream(pairs, max_tokens=7).left_out == 2
    assert stream(pairs, max_tokens=7, max_ratio=2.0).left_out == 4
    # A pair that is longer than a batch would break its bound.
    assert stream(pairs, batch_tokens=6).left_out == 4
    with pytest.raises(UserError, match="all 5 pairs are empty, longer than 2 tokens"):
        stream(pairs, max_tokens=2)


def test_bad_settings():
    with pytest.raises(UserError, match="no pairs of sentences to train on"):
        stream(corpus(0))
    with pytest.raises(UserError, match="a batch of 7 tokens holds no sentence"):
        stream(batch_tokens=7, multiple=8)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        stream(rank=2, world_size=2)


def test_an_unknown_prefix_is_named_with_its_line():
    pairs = TextPairs(["a", ">>fra<< a"], ["b", "b"], [1, 2], "x.en")
    with pytest.raises(UserError, match=r"x\.en, line 2: >>fra<<: the model does not know this language prefix"):
        stream(pairs)


def test_waiting_is_counted():
    one = stream()
    list(one.epoch(0))
    assert one.wait_seconds > 0
    assert one.close_at is None


def test_planning_knows_no_pairs():
    nothing = np.zeros(0, dtype=np.int64)
    assert plan_batches(nothing, nothing, nothing, batch_tokens=8, multiple=2) == []


class TestWithoutEnd:
    """Numbers: drawn as they are needed."""

    TOKENS = train_tokenizer(
        [side for i in range(300) for side in (NumberPairs().load(i).source, NumberPairs().load(i).target)],
        "words",
        prefixes=PREFIXES,
    )

    def numbers(self, count=400, **options) -> TextStream:
        return TextStream(NumberPairs(count=count), self.TOKENS, **{"batch_tokens": 128, "seed": 1, **options})

    def test_batches_are_bounded_and_as_many_as_said(self):
        one = self.numbers()
        batches = list(one.epoch(0))
        assert len(batches) == len(one)
        assert max(max(batch.source.numel(), batch.target_out.numel()) for batch in batches) <= 128
        # An epoch holds about as many pairs as the source says.
        assert sum(map(len, batches)) == pytest.approx(400, rel=0.2)
        assert all(self.TOKENS.unk_id not in batch.source for batch in batches)

    def test_no_pair_comes_twice(self):
        one = self.numbers()
        served = Counter(name for epoch in range(2) for batch in one.epoch(epoch) for name in batch.names)
        assert set(served.values()) == {1}

    def test_ranks_have_pairs_of_their_own(self):
        ranks = [self.numbers(rank=rank, world_size=2) for rank in range(2)]
        assert len(ranks[0]) == len(ranks[1])
        seen = [{name for batch in rank.epoch(0) for name in batch.names} for rank in ranks]
        assert not seen[0] & seen[1]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_stream_starts_at_any_batch_with_or_without_workers(self, workers):
        whole = names(self.numbers().epoch(1))
        assert names(self.numbers(workers=workers).epoch(1, 18)) == whole[18:]

    def test_long_and_short_numbers_are_as_frequent_as_drawn(self):
        drawn = [len(str(NumberPairs().number(index))) for index in range(1000)]
        served = [
            len(str(NumberPairs().number(int(name.split()[1]))))
            for batch in self.numbers(1000).epoch(0)
            for name in batch.names
        ]
        assert sum(served) / len(served) == pytest.approx(sum(drawn) / len(drawn), rel=0.06)

    def test_nothing_but_long_pairs_is_said(self):
        class Long:
            endless = True

            def __len__(self) -> int:
                return 10

            def load(self, index: int) -> TextSample:
                return TextSample("1 " * 50, "1", self.name(index))

            def name(self, index: int) -> str:
                return f"long {index}"

        with pytest.raises(UserError, match="all 256 pairs are empty, longer than 8 tokens"):
            TextStream(Long(), self.TOKENS, max_tokens=8)
