"""The decoder of language: word by word with a cache it says what it says of all words at once."""

import pytest
import torch
from torch import Tensor

from sleuth.nn.attention import causal_mask, padding_mask
from sleuth.nn.language import LanguageDecoder, closing_ranks
from sleuth.nn.layers import DecoderLayer

VALID = torch.arange(7) < torch.tensor([[7], [3], [5], [6]])


def decoder(pre_norm: bool = False) -> LanguageDecoder:
    layers = [DecoderLayer(dim=8, num_heads=2, feedforward_dim=16, pre_norm=pre_norm) for _ in range(2)]
    return LanguageDecoder(layers, norm=torch.nn.LayerNorm(8) if pre_norm else None).eval()


def at_once(model: LanguageDecoder, words: Tensor, memory: Tensor, valid: Tensor) -> Tensor:
    mask = causal_mask(words.shape[1])
    return model(words, memory, attend=mask, attend_memory=padding_mask(valid))


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("sizes", [(1,) * 40, (3, 1, 2), (40,)])
def test_word_by_word_is_all_at_once(pre_norm: bool, sizes: tuple[int, ...]) -> None:
    """Also beyond the room that the cache has at first."""
    model, memory = decoder(pre_norm), torch.randn(4, 7, 8)
    words = torch.randn(4, sum(sizes), 8)
    cache = model.start(memory, VALID)
    steps = [model.step(part, cache) for part in words.split(sizes, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), at_once(model, words, memory, VALID))
    assert cache.shapes() == {"words": (2, 2, 4, sum(sizes), 8), "memory": (2, 2, 4, 7, 8)}


def test_rows_of_a_sentence_share_its_memory_and_take_over_each_others_words() -> None:
    model, memory = decoder(), torch.randn(4, 7, 8)
    first, second, third = torch.randn(4, 1, 8), torch.randn(12, 1, 8), torch.randn(12, 1, 8)
    cache = model.start(memory, VALID)
    model.step(first, cache)
    cache.split(3)
    model.step(second, cache)
    cache.copy_rows([0, 10], [2, 9])
    found = model.step(third, cache)
    parents = torch.tensor([0, 1, 0, 3, 4, 5, 6, 7, 8, 10, 10, 11])
    words = torch.cat((first.repeat_interleave(3, 0), second[parents], third), dim=1)
    expected = at_once(model, words, memory.repeat_interleave(3, 0), VALID.repeat_interleave(3, 0))
    torch.testing.assert_close(found, expected[:, -1:])
    assert cache.shapes()["memory"] == (2, 2, 4, 7, 8)


@pytest.mark.parametrize("beams", [1, 2])
def test_sentences_leave_and_the_others_go_on_as_if_nothing_were(beams: int) -> None:
    model, memory = decoder(), torch.randn(4, 7, 8)
    words = torch.randn(4 * beams, 3, 8)
    cache = model.start(memory, VALID)
    cache.split(beams)
    model.step(words[:, :2], cache)
    order = closing_ranks([True, False, True, False])
    cache.keep(order)
    rows = [sentence * beams + i for sentence in order for i in range(beams)]
    found = model.step(words[rows, 2:], cache)
    everything = at_once(model, words, memory.repeat_interleave(beams, 0), VALID.repeat_interleave(beams, 0))
    torch.testing.assert_close(found, everything[rows, 2:])
    assert cache.rows == 2 * beams


def test_closing_ranks_moves_the_fewest() -> None:
    assert closing_ranks([False, False]) == [0, 1]
    assert closing_ranks([True, True]) == []
    assert closing_ranks([True, False, False]) == [2, 1]
    assert closing_ranks([False, True, True]) == [0]


def test_a_memory_without_padding_needs_no_mask() -> None:
    model = decoder()
    assert model.start(torch.randn(1, 7, 8), torch.ones(1, 7, dtype=torch.bool)).valid is None
    assert model.start(torch.randn(4, 7, 8), VALID).valid is not None


def test_the_callers_mask_is_left_as_it_was() -> None:
    valid = VALID.clone()
    cache = decoder().start(torch.randn(4, 7, 8), valid)
    cache.keep([3, 1])
    assert torch.equal(valid, VALID)


def test_sentences_are_split_once() -> None:
    cache = decoder().start(torch.randn(1, 7, 8))
    cache.split(2)
    with pytest.raises(ValueError, match="2 rows already"):
        cache.split(2)
