"""Which parameter learns at which rate."""

import pytest
import torch

from sleuth.training.optimizer import OptimizerSettings, build_optimizer, named_groups, set_rate


def rates(groups) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in groups}


def test_backbone_learns_at_a_tenth_by_default(small):
    assert rates(named_groups(small, OptimizerSettings(rate=1e-3))) == {
        "rest": 1e-3,
        "backbone": pytest.approx(1e-4),
    }


def test_backbone_rate_can_be_given(small):
    assert rates(named_groups(small, OptimizerSettings(rate=1e-3, backbone_rate=5e-3)))["backbone"] == 5e-3


def test_every_trained_parameter_is_in_one_group_and_frozen_ones_in_none(small):
    groups = named_groups(small, OptimizerSettings())
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    trained = {id(parameter) for parameter in small.parameters() if parameter.requires_grad}
    assert len(ids) == len(set(ids))
    assert set(ids) == trained
    backbone = {id(parameter) for parameter in small.backbone.parameters()}
    assert {id(parameter) for parameter in groups[1]["params"]} == backbone


def test_norms_and_biases_may_be_spared_the_decay(small):
    groups = {group["name"]: group for group in named_groups(small, OptimizerSettings(decay_norms=False))}
    assert list(groups) == ["rest", "rest norms", "backbone", "backbone norms"]
    assert [tuple(parameter.shape) for parameter in groups["rest norms"]["params"]] == [(2,)]
    assert all(parameter.ndim == 1 for parameter in groups["backbone norms"]["params"])
    assert groups["backbone norms"]["lr"] == groups["backbone"]["lr"]
    optimizer = build_optimizer(small, OptimizerSettings(decay_norms=False, weight_decay=0.3))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0, 0.3, 0.0]
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == sum(parameter.requires_grad for parameter in small.parameters())


def test_adamw_as_torch_has_it(small, one_step):
    other = type(small)()
    other.load_state_dict(small.state_dict())
    settings = OptimizerSettings(rate=1e-2, backbone_rate=1e-3, weight_decay=0.1)
    ours = build_optimizer(small, settings)
    theirs = torch.optim.AdamW(
        [{"params": other.head.parameters()}, {"params": other.backbone.parameters(), "lr": 1e-3}],
        lr=1e-2,
        weight_decay=0.1,
    )
    for seed in range(3):
        one_step(small, ours, seed)
        one_step(other, theirs, seed)
    for name, tensor in other.state_dict().items():
        assert torch.allclose(small.state_dict()[name], tensor, atol=1e-6), name


def test_set_rate_keeps_the_groups_apart(small):
    optimizer = build_optimizer(small, OptimizerSettings(rate=1e-3))
    set_rate(optimizer, 0.5)
    set_rate(optimizer, 0.1)
    assert rates(optimizer.param_groups) == {"rest": pytest.approx(1e-4), "backbone": pytest.approx(1e-5)}


def test_betas_and_eps_of_the_transformer(small, one_step):
    other = type(small)()
    other.load_state_dict(small.state_dict())
    settings = OptimizerSettings(rate=1e-2, backbone_rate=1e-2, weight_decay=0.0, betas=(0.9, 0.98), eps=1e-9)
    ours = build_optimizer(small, settings)
    theirs = torch.optim.Adam(other.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-9)
    assert all(group["eps"] == 1e-9 and group["betas"] == (0.9, 0.98) for group in ours.param_groups)
    for seed in range(3):
        one_step(small, ours, seed)
        one_step(other, theirs, seed)
    for name, tensor in other.state_dict().items():
        assert torch.allclose(small.state_dict()[name], tensor, atol=1e-6), name
    with pytest.raises(ValueError, match="eps"):
        OptimizerSettings(eps=0.0)
