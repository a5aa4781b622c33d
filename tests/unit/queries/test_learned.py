"""Object queries: zero content and learned positions."""

import torch

from sleuth.queries.learned import LearnedQueries
from sleuth.types.memory import Memory


def memory(batch: int = 2, tokens: int = 6, dim: int = 8) -> Memory:
    return Memory(
        tokens=torch.randn(batch, tokens, dim), pos=torch.randn(batch, tokens, dim), valid=None, grids_hw=((2, 3),)
    )


def test_content_starts_at_zero_and_positions_are_learned() -> None:
    module = LearnedQueries(num_queries=5, dim=8)
    queries = module(memory())
    assert queries.content.shape == queries.pos.shape == (2, 5, 8)
    assert bool((queries.content == 0).all())
    assert torch.equal(queries.pos[0], module.weight)
    assert torch.equal(queries.pos[1], module.weight)


def test_gradients_of_all_pictures_reach_the_one_table() -> None:
    module = LearnedQueries(num_queries=5, dim=8)
    module(memory(batch=3)).pos.sum().backward()
    assert module.weight.grad is not None
    assert torch.equal(module.weight.grad, torch.full((5, 8), 3.0))


def test_queries_do_not_depend_on_the_picture() -> None:
    module = LearnedQueries(num_queries=5, dim=8)
    assert torch.equal(module(memory()).pos, module(memory()).pos)
