"""Convolution and norm computed as one: the same answer, and a model that stays what it is."""

import threading

import pytest
import torch
from torch import nn

from sleuth.backbones.hgnetv2 import HgNetV2
from sleuth.backbones.resnet import ResNet
from sleuth.nn.convolution import ConvNorm, RepVgg
from sleuth.nn.folding import FoldedConvolutions


def _settled(module: nn.Module) -> nn.Module:
    """Statistics and scales as after a training, in evaluation mode."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return module.eval()


def _norms_run(module: nn.Module, x: torch.Tensor) -> int:
    """How many batch norms really compute."""
    calls: list[object] = []
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_hook(lambda norm, given, made: calls.append(norm) if made is not given[0] else None)
    with torch.no_grad():
        module(x)
    return len(calls)


@pytest.mark.parametrize(
    ("module", "channels"),
    [
        (lambda: ConvNorm(in_channels=4, out_channels=8, kernel_size=3, stride=2), 4),
        (lambda: ConvNorm(in_channels=4, out_channels=8, groups=4, activation=torch.relu), 4),
        (lambda: RepVgg(channels=4), 4),
        (lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6)), 4),
        (lambda: ResNet(name="resnet10", width=8, variant="d", frozen_norm=False), 3),
        (lambda: ResNet(name="resnet50", width=8, frozen_norm=False, num_stages=2), 3),
    ],
)
def test_the_answer_is_the_same_and_the_module_stays_as_it_was(module, channels: int) -> None:
    module = _settled(module())
    x = torch.randn(2, channels, 33, 32)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        before = module(x)
        with FoldedConvolutions(module):
            torch.testing.assert_close(module(x), before, atol=1e-4, rtol=1e-4)
            assert not torch.equal(module(x), before)
            assert module.state_dict().keys() == state.keys()
        assert torch.equal(module(x), before)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_no_norm_is_left_but_one_that_follows_no_convolution() -> None:
    x = torch.randn(1, 3, 32, 32)
    for body in (ResNet(name="resnet10", width=8, variant="d", frozen_norm=False), HgNetV2(name="b0", width=0.25)):
        _settled(body)
        with FoldedConvolutions(body):
            assert _norms_run(body, x) == 0
    apart = _settled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)))
    with FoldedConvolutions(apart):
        assert _norms_run(apart, x) == 1


def test_changed_weights_are_folded_anew() -> None:
    module = _settled(RepVgg(channels=4))
    folded, x = FoldedConvolutions(module), torch.randn(1, 4, 5, 5)
    with torch.inference_mode(), folded:
        module(x)
    kept = folded._forwards
    with folded:
        assert folded._forwards is kept
    # By training, and by loading a state.
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    module(x).square().sum().backward()
    optimizer.step()
    for _ in range(2):
        with torch.no_grad():
            plain = module(x)
            with folded:
                torch.testing.assert_close(module(x), plain, atol=1e-4, rtol=1e-4)
        module.load_state_dict(_settled(RepVgg(channels=4)).state_dict())


def test_a_model_that_trains_or_is_of_half_precision_computes_as_ever() -> None:
    x = torch.randn(2, 4, 5, 5)
    module = _settled(ConvNorm(in_channels=4, out_channels=4)).train()
    with FoldedConvolutions(module):
        assert "forward" not in vars(module.conv)
        module(x).sum().backward()
    assert module.norm.weight.grad is not None
    half = _settled(ConvNorm(in_channels=4, out_channels=4)).to(torch.bfloat16)
    with torch.no_grad(), FoldedConvolutions(half):
        inside = half(x.to(torch.bfloat16))
    assert torch.equal(inside, half(x.to(torch.bfloat16)))


def test_threads_share_the_block() -> None:
    module = _settled(ConvNorm(in_channels=4, out_channels=4))
    folded, entered, leave = FoldedConvolutions(module), threading.Event(), threading.Event()

    def other() -> None:
        with folded:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with folded:
        thread.start()
        assert entered.wait(10)
    # The first has left, the second still computes with folded weights.
    assert "forward" in vars(module.conv)
    leave.set()
    thread.join()
    assert "forward" not in vars(module.conv)
