"""Iterative refinement: where boxes start, how they move, and how far gradients look."""

import pytest
import torch
from torch import nn

from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.refining import RefiningDecoder, inverse_sigmoid, refined

GRIDS = ((4, 5), (2, 3))


def _layer() -> DeformableDecoderLayer:
    attention = MultiScaleDeformableAttention(dim=16, num_heads=2, num_levels=2, num_points=2)
    return DeformableDecoderLayer(dim=16, num_heads=2, cross_attention=attention, feedforward_dim=16)


def _run(decoder: RefiningDecoder) -> tuple[torch.Tensor, torch.Tensor]:
    states, tokens = torch.randn(2, 3, 16), torch.randn(2, 26, 16)
    found = decoder(states, torch.rand(2, 3, 4) * 0.6 + 0.2, tokens, GRIDS)
    return found.states, found.boxes_cxcywh


def test_inverse_sigmoid_inverts_and_stays_finite() -> None:
    x = torch.tensor([0.0, 0.3, 1.0])
    assert bool(inverse_sigmoid(x).isfinite().all())
    torch.testing.assert_close(inverse_sigmoid(x)[1].sigmoid(), x[1])


def test_a_point_gives_the_centre_alone() -> None:
    box = refined(torch.zeros(1, 4), torch.tensor([[0.3, 0.8]]))
    torch.testing.assert_close(box, torch.tensor([[0.3, 0.8, 0.5, 0.5]]))


@pytest.mark.parametrize("norm", [None, nn.LayerNorm(16)])
@pytest.mark.parametrize("twice", [True, False])
def test_gradients_look_forward_once_or_twice(norm: nn.Module | None, twice: bool) -> None:
    heads = [nn.Linear(16, 4) for _ in range(3)]
    decoder = RefiningDecoder(
        [_layer() for _ in range(3)],
        box_heads=heads,
        position=nn.Linear(4, 16),
        norm=norm,
        look_forward_twice=twice,
    )
    _, boxes = _run(decoder)
    boxes[2].sum().backward()
    reached = [head.weight.grad is not None and bool(head.weight.grad.abs().sum() > 0) for head in heads]
    assert reached == [False, twice, True]


def test_each_layer_starts_where_the_one_before_ended() -> None:
    heads = [nn.Linear(16, 4) for _ in range(2)]
    decoder = RefiningDecoder([_layer() for _ in range(2)], box_heads=heads, position=nn.Linear(4, 16))
    states, boxes = _run(decoder)
    torch.testing.assert_close(boxes[1], refined(heads[1](states[1]), boxes[0]))


def test_the_first_layers_may_run_alone() -> None:
    heads = [nn.Linear(16, 4) for _ in range(3)]
    decoder = RefiningDecoder([_layer() for _ in range(3)], box_heads=heads, position=nn.Linear(4, 16))
    states, tokens, start = torch.randn(2, 3, 16), torch.randn(2, 26, 16), torch.rand(2, 3, 4)
    everything = decoder(states, start, tokens, GRIDS)
    two = decoder(states, start, tokens, GRIDS, num_layers=2)
    assert torch.equal(two.boxes_cxcywh, everything.boxes_cxcywh[:2])
    assert torch.equal(two.states, everything.states[:2])


def test_one_box_head_may_serve_all_layers() -> None:
    layers = [_layer() for _ in range(3)]
    one = nn.Linear(16, 4)
    shared = RefiningDecoder(layers, box_heads=[one], position=nn.Linear(4, 16))
    each = RefiningDecoder(layers, box_heads=[one, one, one], position=shared.position)
    assert "box_heads.1.weight" not in shared.state_dict()
    torch.manual_seed(1)
    _, boxes = _run(shared)
    torch.manual_seed(1)
    assert torch.equal(boxes, _run(each)[1])
    with pytest.raises(ValueError, match="2 box heads for 3 layers"):
        RefiningDecoder(layers, box_heads=[one, one])


def test_positions_are_of_boxes_on_the_first_padded_level() -> None:
    seen: list[torch.Tensor] = []
    position = nn.Linear(4, 16)
    position.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    decoder = RefiningDecoder([_layer()], box_heads=[nn.Linear(16, 4)], position=position)
    boxes, ratios = torch.rand(2, 3, 4), torch.rand(2, 2, 2)
    decoder(torch.randn(2, 3, 16), boxes, torch.randn(2, 26, 16), GRIDS, valid_ratios=ratios)
    torch.testing.assert_close(seen[0], boxes * ratios[:, None, 0].repeat(1, 1, 2))
