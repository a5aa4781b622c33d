"""The running average of the weights, by its formula."""

import pytest
import torch

from sleuth.training.ema import WeightAverage
from sleuth.training.optimizer import OptimizerSettings, build_optimizer


def snapshot(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_formula_with_warm_up(small, one_step):
    average = WeightAverage(small, decay=0.5)
    optimizer = build_optimizer(small, OptimizerSettings(rate=0.1))
    expected = small.head.weight.detach().clone()
    for update in range(8):
        one_step(small, optimizer, update)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * small.head.weight.detach()
    assert torch.allclose(average.tensors["head.weight"], expected, atol=1e-6)
    assert average.updates == 8


def test_it_averages_statistics_and_leaves_counts(small, one_step):
    average = WeightAverage(small, decay=0.9)
    assert "backbone.1.running_mean" in average.tensors
    assert "backbone.1.num_batches_tracked" not in average.tensors


def test_block_holds_the_average_and_gives_the_weights_back_to_the_bit(small, one_step):
    average = WeightAverage(small, decay=0.9)
    one_step(small, build_optimizer(small, OptimizerSettings(rate=0.1)), 0)
    before = snapshot(small)
    with average.in_place_of_weights():
        for name, tensor in average.tensors.items():
            assert torch.equal(small.state_dict()[name], tensor)
    assert all(torch.equal(small.state_dict()[name], tensor) for name, tensor in before.items())


def test_weights_come_back_after_an_error(small, one_step):
    average = WeightAverage(small, decay=0.9)
    one_step(small, build_optimizer(small, OptimizerSettings(rate=0.1)), 0)
    before = snapshot(small)
    with pytest.raises(RuntimeError, match="in the block"), average.in_place_of_weights():
        raise RuntimeError("in the block")
    assert all(torch.equal(small.state_dict()[name], tensor) for name, tensor in before.items())


def test_loaded_average_goes_on_like_the_original(small, one_step):
    optimizer = build_optimizer(small, OptimizerSettings(rate=0.1))
    original = WeightAverage(small, decay=0.99)
    for seed in range(3):
        one_step(small, optimizer, seed)
        original.update()
    resumed = WeightAverage(small, decay=0.99)
    resumed.load({name: tensor.clone() for name, tensor in original.tensors.items()}, original.updates)
    one_step(small, optimizer, 3)
    original.update()
    resumed.update()
    assert all(torch.equal(resumed.tensors[name], tensor) for name, tensor in original.tensors.items())
