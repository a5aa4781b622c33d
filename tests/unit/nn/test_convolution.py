"""Convolution and norm folded into one: the same answer, fewer steps."""

import pytest
import torch
from torch import nn

from sleuth.nn.convolution import ConvNorm, RepVgg, folded, fuse_convolutions


def _settled(module: nn.Module) -> nn.Module:
    """Statistics and scales as after a training, in evaluation mode."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize("options", [{"kernel_size": 3, "stride": 2}, {"groups": 4}, {"activation": torch.relu}])
def test_a_fused_convolution_answers_the_same(options: dict) -> None:
    module = _settled(ConvNorm(in_channels=4, out_channels=8, **options))
    x = torch.randn(2, 4, 7, 5)
    with torch.no_grad():
        before = module(x)
        fuse_convolutions(module)
        torch.testing.assert_close(module(x), before, atol=1e-5, rtol=1e-5)
    assert set(module.state_dict()) == {"conv.weight", "conv.bias"}


def test_a_fused_branch_answers_the_same_and_is_one_convolution() -> None:
    module = _settled(RepVgg(channels=6))
    x = torch.randn(2, 6, 5, 4)
    with torch.no_grad():
        before = module(x)
        fuse_convolutions(module)
        fuse_convolutions(module)  # once more changes nothing
        torch.testing.assert_close(module(x), before, atol=1e-5, rtol=1e-5)
    assert set(module.state_dict()) == {"conv1.conv.weight", "conv1.conv.bias"}


def test_a_training_model_is_not_fused() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        fuse_convolutions(nn.Sequential(RepVgg(channels=2)))


def test_folding_leaves_its_parts_as_they_were() -> None:
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), _settled(nn.BatchNorm2d(4))
    weight = conv.weight.detach().clone()
    fused = folded(conv, norm)
    assert torch.equal(conv.weight, weight)
    assert conv.bias is None
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(fused(x), norm(conv(x)), atol=1e-5, rtol=1e-5)
