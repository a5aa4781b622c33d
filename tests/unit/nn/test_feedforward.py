"""Position-wise networks: each token alone."""

import torch
from torch import nn

from sleuth.nn.feedforward import MLP, FeedForward


def test_feedforward_is_two_linears_around_the_activation() -> None:
    torch.manual_seed(0)
    module = FeedForward(dim=4, hidden_dim=6, activation=torch.tanh)
    x = torch.randn(2, 3, 4)
    assert torch.equal(module(x), module.linear2(torch.tanh(module.linear1(x))))


def test_feedforward_sees_each_token_alone() -> None:
    torch.manual_seed(0)
    module = FeedForward(dim=4, hidden_dim=6)
    x = torch.randn(1, 3, 4)
    changed = x.clone()
    changed[0, 1] += 1
    same = (module(x) == module(changed)).all(-1)[0].tolist()
    assert same == [True, False, True]


def test_mlp_has_relu_between_and_none_at_the_end() -> None:
    torch.manual_seed(0)
    module = MLP(in_dim=3, hidden_dim=5, out_dim=2, num_layers=3)
    sizes = [(m.in_features, m.out_features) for m in module.layers if isinstance(m, nn.Linear)]
    assert sizes == [(3, 5), (5, 5), (5, 2)]
    x = torch.randn(7, 3)
    first, second, third = module.layers
    assert torch.equal(module(x), third(second(first(x).relu()).relu()))


def test_an_mlp_of_one_layer_is_linear() -> None:
    module = MLP(in_dim=3, hidden_dim=5, out_dim=2, num_layers=1)
    x = torch.randn(2, 3)
    assert torch.equal(module(x), module.layers[0](x))
