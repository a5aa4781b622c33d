"""Maps whose gradients lie in memory as they do."""

import pytest
import torch

from sleuth.nn.convolution import ConvNorm, dense_gradient


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_slice_of_a_gradient_is_laid_out_as_the_map(layout):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 5).contiguous(memory_format=layout).requires_grad_()
    y = x * 1
    dense_gradient(y)
    seen: list[torch.Tensor] = []
    y.register_hook(seen.append)
    pull = torch.randn(2, 10, 3, 5).contiguous(memory_format=layout)
    torch.cat((y, torch.zeros(2, 6, 3, 5).contiguous(memory_format=layout)), dim=1).backward(pull)
    assert seen[0].is_contiguous(memory_format=layout)
    assert torch.equal(x.grad, pull[:, :4])


def test_without_an_activation_the_same_gradients():
    torch.manual_seed(0)
    brick = ConvNorm(in_channels=4, out_channels=8, kernel_size=3).to(memory_format=torch.channels_last)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    pull = torch.randn(2, 16, 6, 6)
    found = []
    for forward in (brick, lambda x: brick.norm(brick.conv(x))):
        brick.zero_grad()
        torch.cat((forward(x), torch.ones(2, 8, 6, 6)), dim=1).backward(pull)
        found.append([parameter.grad.clone() for parameter in brick.parameters()])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_inference_registers_nothing():
    x = torch.zeros(1, 2, 3, 3)
    assert dense_gradient(x) is x
    assert x._backward_hooks is None
