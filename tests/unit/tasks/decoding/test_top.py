"""The best words by blocks are those of topk, whatever lies where."""

import pytest
import torch

from sleuth.tasks.decoding.top import normalise_, top_words


@pytest.mark.parametrize("vocabulary", [7, 2047, 2048, 2116, 5000, 58_101])
@pytest.mark.parametrize("k", [1, 7])
def test_as_topk(vocabulary: int, k: int) -> None:
    scores = torch.randn(5, vocabulary)
    scores[0, -1] = 9.0  # beyond the last whole block
    scores[1, :10] += 8.0  # all in one block
    scores[2, 3:] = float("-inf")
    values, words = top_words(scores, k)
    expected = scores.topk(k, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(scores.gather(1, words), expected.values)
    assert all(len(set(row)) == k for row in words.tolist())
    assert torch.equal(words[:2], expected.indices[:2])


def test_log_probabilities_in_place() -> None:
    logits = 5 * torch.randn(40, 58_101)
    expected = logits.log_softmax(1)
    assert normalise_(logits) is logits
    assert torch.equal(logits, expected)
