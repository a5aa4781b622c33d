"""Orthogonal steps: of what, how far, and as torch takes them."""

import itertools

import pytest
import torch
from torch import nn

from sleuth.models.segmenter import SegmenterConfig, build_segmenter
from sleuth.models.vit import VitConfig
from sleuth.training.muon import Muon, as_matrix, orthogonal
from sleuth.training.optimizer import OptimizerSettings, build_optimizer, hidden_matrices, named_groups


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 16, 40), (2, 40, 16)])
def test_singular_values_come_close_to_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.4
    assert values.max() < 1.3


def test_a_gradient_of_one_direction_stays_one_and_zeros_stay_zero():
    one = torch.outer(torch.arange(1.0, 17.0), torch.ones(20))[None]
    values = torch.linalg.svdvals(orthogonal(one))[0]
    assert 0.6 < values[0] < 1.3
    assert values[1] < 0.05
    assert not orthogonal(torch.zeros(2, 16, 20)).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_a_matrix_in_either_layout(layout):
    kernel = torch.randn(8, 3, 5, 5).contiguous(memory_format=layout)
    view = as_matrix(kernel)
    assert view.shape == (8, 75)
    assert view.data_ptr() == kernel.data_ptr()
    assert torch.equal(view.sort().values, kernel.flatten(1).sort().values)


@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (64, 32)])
def test_steps_are_those_of_torch(rows, columns):
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(rows, columns) / 8)
    theirs = nn.Parameter(ours.detach().clone())
    both = (
        Muon([{"params": [ours], "muon": True}], lr=0.02, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    start = ours.detach().clone()
    for seed in range(4):
        pull = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
        for parameter, optimizer in zip((ours, theirs), both, strict=True):
            parameter.grad = pull.clone()
            optimizer.step()
    # Newton-Schulz in bfloat16: a batch of matrices is summed in another order than one.
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()


def test_the_layout_of_a_kernel_and_of_its_gradient_does_not_matter():
    torch.manual_seed(0)
    kernel, pulls = torch.randn(32, 16, 3, 3), torch.randn(2, 32, 16, 3, 3)
    ends = []
    layouts = torch.contiguous_format, torch.channels_last
    for weight_layout, gradient_layout in itertools.product(layouts, layouts):
        parameter = nn.Parameter(kernel.clone(memory_format=weight_layout))
        optimizer = Muon([{"params": [parameter], "muon": True}], lr=0.1, weight_decay=0.0)
        for pull in pulls:
            parameter.grad = pull.clone(memory_format=gradient_layout)
            optimizer.step()
        ends.append(parameter.detach() - kernel)
    assert ends[0].abs().max() > 0.01
    for end in ends[1:]:
        assert (end - ends[0]).norm() < 0.02 * ends[0].norm()


class _Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16))
        self.table = nn.Embedding(20, 16)
        self.queries = nn.Parameter(torch.zeros(20, 16))
        self.body = nn.Linear(16, 32)
        self.box_head = nn.Linear(32, 4)
        self.class_heads = nn.ModuleList([nn.Linear(32, 20)])


def test_hidden_matrices_alone_are_turned():
    model = _Mixed()
    groups = {str(group["name"]): group for group in named_groups(model, OptimizerSettings(kind="muon"))}
    turned = {
        name: [tuple(each.shape) for each in group["params"]] for name, group in groups.items() if group.get("muon")
    }
    assert turned == {"rest matrices": [(32, 16)], "backbone matrices": [(16, 8, 3, 3)]}
    held = [id(each) for group in groups.values() for each in group["params"]]
    assert sorted(held) == sorted(id(each) for each in model.parameters())


def test_blocks_of_a_head_are_turned_and_its_scores_are_not():
    vit = VitConfig(image_hw=(32, 32), patch_size=8, dim=32, depth=1, num_heads=2, feedforward_dim=64)
    of_kind = {
        kind: hidden_matrices(build_segmenter(SegmenterConfig(vit=vit, num_classes=20, head=kind, head_depth=1)))
        for kind in ("mask", "linear")
    }
    # A block has four matrices: queries, keys and values in one, what they bring home, and two of the feed-forward.
    assert len(of_kind["linear"]) == 4
    assert len(of_kind["mask"]) == 4 + 4 + 3, "projections of tokens, patches and classes"


def test_the_rest_moves_as_by_adamw():
    torch.manual_seed(0)
    first = _Mixed()
    second = _Mixed()
    second.load_state_dict(first.state_dict())
    for model, kind in ((first, "muon"), (second, "adamw")):
        optimizer = build_optimizer(model, OptimizerSettings(kind=kind, rate=1e-2))
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
    states = first.state_dict(), second.state_dict()
    alike = {name for name, value in states[0].items() if torch.equal(value, states[1][name])}
    assert set(states[0]) - alike == {"body.weight", "backbone.1.weight"}
