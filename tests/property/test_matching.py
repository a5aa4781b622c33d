"""Matching: the cheapest of all assignments, whatever the order of queries and objects."""

from itertools import permutations

import hypothesis.strategies as st
import torch
from hypothesis import given, settings
from torch import Tensor

from sleuth.matching.costs import CostWeights, matching_costs, pad_targets
from sleuth.matching.dense import dense_match, token_centres
from sleuth.matching.hungarian import hungarian_match
from sleuth.types.batches import Target
from sleuth.types.memory import Memory

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**31)


def scene(seed: int, queries: int, objects: int, classes: int = 3) -> tuple[Tensor, Tensor, Target]:
    """Random predictions of one picture and its objects."""
    torch.manual_seed(seed)
    target = Target(labels=torch.randint(0, classes, (objects,)), boxes_cxcywh=torch.rand(objects, 4))
    return torch.randn(1, 1, queries, classes + 1), torch.rand(1, 1, queries, 4), target


def pairs(logits: Tensor, boxes: Tensor, target: Target) -> set[tuple[int, int]]:
    (found,) = hungarian_match(logits, boxes, [target], CostWeights())
    return set(zip(found.query.tolist(), found.target.tolist(), strict=True))


@given(SEEDS, st.integers(1, 5), st.integers(0, 5))
def test_no_assignment_is_cheaper(seed: int, queries: int, objects: int) -> None:
    logits, boxes, target = scene(seed, queries, objects)
    costs = matching_costs(logits, boxes, pad_targets([target], CPU), CostWeights())[0, 0]
    found = pairs(logits, boxes, target)
    assert len(found) == min(queries, objects)
    assert len({query for query, _ in found}) == len({place for _, place in found}) == len(found)
    paid = sum(costs[query, place].item() for query, place in found)
    long, short = (costs, objects) if queries >= objects else (costs.T, queries)
    cheapest = min(
        sum(long[row, column].item() for column, row in enumerate(chosen))
        for chosen in permutations(range(len(long)), short)
    )
    assert abs(paid - cheapest) < 1e-4


@given(SEEDS, st.integers(1, 8), st.integers(1, 8), st.randoms(use_true_random=False))
def test_order_of_queries_and_objects_does_not_matter(seed: int, queries: int, objects: int, random: object) -> None:
    logits, boxes, target = scene(seed, queries, objects)
    by_query, by_object = list(range(queries)), list(range(objects))
    random.shuffle(by_query)  # type: ignore[attr-defined]
    random.shuffle(by_object)  # type: ignore[attr-defined]
    shuffled = Target(labels=target.labels[by_object], boxes_cxcywh=target.boxes_cxcywh[by_object])
    found = pairs(logits[:, :, by_query], boxes[:, :, by_query], shuffled)
    assert {(by_query[query], by_object[place]) for query, place in found} == pairs(logits, boxes, target)


@given(SEEDS, st.integers(0, 4), st.integers(0, 4))
def test_a_batch_is_its_pictures_one_by_one(seed: int, first: int, second: int) -> None:
    one, other = scene(seed, 5, first), scene(seed + 1, 5, second)
    (found,) = hungarian_match(
        torch.cat((one[0], other[0]), dim=1), torch.cat((one[1], other[1]), dim=1), [one[2], other[2]], CostWeights()
    )
    rows = set(zip(found.picture.tolist(), found.query.tolist(), found.target.tolist(), strict=True))
    assert rows == {(0, *pair) for pair in pairs(*one)} | {(1, *pair) for pair in pairs(*other)}


@given(st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), min_size=3, max_size=3), SEEDS)
def test_any_boxes_at_all_give_a_whole_assignment(numbers: list[list[float]], seed: int) -> None:
    logits, _, target = scene(seed, 3, 2)
    assert len(pairs(logits, torch.tensor(numbers)[None, None], target)) == 2
    broken = Target(labels=torch.tensor([0, 1, 2]), boxes_cxcywh=torch.tensor(numbers))
    assert len(pairs(logits, torch.rand(1, 1, 3, 4), broken)) == 3


def padded_memory(height: int, width: int, sizes: list[tuple[int, int]]) -> Memory:
    valid = torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for row, (h, w) in enumerate(sizes):
        valid[row, : min(h, height), : min(w, width)] = True
    tokens = torch.zeros(len(sizes), height * width, 4)
    return Memory(tokens=tokens, pos=tokens, valid=valid.flatten(1), grids_hw=((height, width),))


@settings(max_examples=100)
@given(
    SEEDS,
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    st.lists(st.integers(0, 8), min_size=3, max_size=3),
    st.sampled_from([1.0, 0.2, 0.01]),
)
def test_tokens_are_dealt_to_objects(
    seed: int, height: int, width: int, sizes: list[tuple[int, int]], counts: list[int], scale: float
) -> None:
    torch.manual_seed(seed)
    targets = [
        Target(
            labels=torch.zeros(n, dtype=torch.int64), boxes_cxcywh=torch.rand(n, 4) * torch.tensor([1, 1, scale, scale])
        )
        for n, _ in zip(counts, sizes, strict=False)
    ]
    memory = padded_memory(height, width, sizes)
    assert memory.valid is not None
    dense = dense_match(memory, pad_targets(targets, CPU))
    picture, token, place = dense.match.picture, dense.match.query, dense.match.target
    assert bool(memory.valid[picture, token].all()), "padding belongs to nobody"
    assert len({*zip(picture.tolist(), token.tolist(), strict=True)}) == len(token), "a token has one owner"
    for row, target in enumerate(targets):
        held = place[picture == row].bincount(minlength=len(target.labels))
        assert len(held) == len(target.labels), "no object out of thin air"
        room = int(memory.valid[row].sum())
        assert int((held > 0).sum()) == min(len(held), room), "everyone gets a token while there are any"
        weights = torch.zeros(len(held)).index_add_(0, place[picture == row], dense.weight[picture == row])
        torch.testing.assert_close(weights, (held > 0).float())


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3))
def test_token_centres_do_not_see_padding(sizes: list[tuple[int, int]]) -> None:
    centres = token_centres(padded_memory(6, 6, sizes)).unflatten(1, (6, 6))
    for row, (h, w) in enumerate(sizes):
        y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
        torch.testing.assert_close(centres[row, :h, :w], torch.stack((x, y), dim=-1))
