"""The ResNet backbone: frozen norms, strides, dilation, and the mask on the feature grid."""

import pytest
import torch
from torch import nn

from sleuth.backbones.resnet import FrozenBatchNorm2d, ResNet, feature_mask


def small(**options: object) -> ResNet:
    return ResNet(**{"name": "resnet10", "width": 8, **options}).eval()


def test_frozen_norm_has_exactly_four_buffers_and_no_parameters() -> None:
    norm = FrozenBatchNorm2d(3)
    assert [name for name, _ in norm.named_buffers()] == ["weight", "bias", "running_mean", "running_var"]
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert not list(norm.parameters())
    assert norm.eps == 1e-5


def test_frozen_norm_is_batch_norm_in_evaluation_whatever_the_mode() -> None:
    reference = nn.BatchNorm2d(5, eps=1e-5).eval()
    nn.init.normal_(reference.weight)
    nn.init.normal_(reference.bias)
    nn.init.normal_(reference.running_mean)
    nn.init.uniform_(reference.running_var, 0.0, 2.0)
    norm = FrozenBatchNorm2d(5)
    state = {key: value for key, value in reference.state_dict().items() if key != "num_batches_tracked"}
    norm.load_state_dict(state)
    x = torch.randn(2, 5, 4, 6)
    for mode in (True, False):
        torch.testing.assert_close(norm.train(mode)(x), reference(x), atol=1e-5, rtol=1e-5)
    assert torch.equal(norm.running_mean, reference.running_mean)


def test_frozen_norm_keeps_the_type_of_its_input() -> None:
    assert FrozenBatchNorm2d(2)(torch.randn(1, 2, 3, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "channels", "blocks"),
    [
        ("resnet10", 512, (1, 1, 1, 1)),
        ("resnet18", 512, (2, 2, 2, 2)),
        ("resnet34", 512, (3, 4, 6, 3)),
        ("resnet50", 2048, (3, 4, 6, 3)),
        ("resnet101", 2048, (3, 4, 23, 3)),
    ],
)
def test_each_depth(name: str, channels: int, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = ResNet(name=name)
        features = model(torch.zeros(1, 3, 64, 96))
    assert model.channels == channels
    assert features.shape == (1, channels, 2, 3)
    assert tuple(len(getattr(model.body, f"layer{stage}")) for stage in (1, 2, 3, 4)) == blocks
    assert not [key for key in model.state_dict() if "fc" in key]


@pytest.mark.parametrize(
    ("stages", "dilate", "stride"), [(1, False, 4), (2, False, 8), (3, False, 16), (4, False, 32), (4, True, 16)]
)
def test_stride_and_channels_are_those_of_the_feature_map(stages: int, dilate: bool, stride: int) -> None:
    model = small(num_stages=stages, dilate_last=dilate)
    features = model(torch.randn(1, 3, 64, 96))
    assert model.stride == stride
    assert features.shape == (1, model.channels, 64 // stride, 96 // stride)
    assert model.channels == 8 * 2 ** (stages - 1)
    assert not [key for key in model.state_dict() if f"layer{stages + 1}" in key]


def test_dc5_dilates_only_the_last_stage() -> None:
    with torch.device("meta"):
        model = ResNet(name="resnet50", dilate_last=True)
    spread = {
        stage: {
            (module.dilation, module.stride)
            for module in getattr(model.body, f"layer{stage}").modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        }
        for stage in (1, 2, 3, 4)
    }
    assert {dilation for stage in (1, 2, 3) for dilation, _ in spread[stage]} == {(1, 1)}
    assert ((2, 2), (1, 1)) in spread[4]
    assert all(stride == (1, 1) for _, stride in spread[4])


def test_dilation_has_the_same_weights() -> None:
    with torch.device("meta"):
        plain, dilated = ResNet(name="resnet50"), ResNet(name="resnet50", dilate_last=True)
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in dilated.state_dict().items()}


def test_frozen_norms_are_not_trained_and_others_are() -> None:
    assert not [name for name, _ in small().named_parameters() if "bn" in name]
    assert [name for name, _ in small(frozen_norm=False).named_parameters() if "bn" in name]


def test_freezing_the_stem_leaves_the_later_stages_to_train() -> None:
    model = small(frozen_norm=False)
    model.freeze_stem()
    frozen = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert trained == {"layer2", "layer3", "layer4"}


def test_odd_and_tiny_pictures_have_features() -> None:
    model = small()
    assert model(torch.randn(1, 3, 33, 65)).shape[-2:] == (2, 3)
    assert model(torch.randn(1, 3, 1, 1)).shape[-2:] == (1, 1)


def test_feature_mask_takes_the_nearest_pixel() -> None:
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, :5, :3] = True  # reaches into the second cell of each axis, but only the pixel at its corner decides
    assert feature_mask(valid, (2, 2))[0].tolist() == [[True, False], [True, False]]
    assert feature_mask(valid, (4, 4))[0].int().sum(0).tolist() == [3, 3, 0, 0]


def test_feature_mask_is_the_originals() -> None:
    """The original resizes the mask of padding as floats."""
    valid = torch.zeros(3, 37, 53, dtype=torch.bool)
    for row, (h, w) in enumerate([(37, 20), (11, 53), (1, 1)]):
        valid[row, :h, :w] = True
    theirs = nn.functional.interpolate((~valid)[None].float(), size=(2, 4))[0].bool()
    assert torch.equal(feature_mask(valid, (2, 4)), ~theirs)


def test_every_picture_keeps_a_token_however_small_it_is() -> None:
    valid = torch.zeros(1, 640, 640, dtype=torch.bool)
    valid[:, :1, :1] = True
    assert feature_mask(valid, (20, 20)).sum() == 1


@pytest.mark.parametrize(("name", "channels"), [("resnet18", (128, 256, 512)), ("resnet50", (512, 1024, 2048))])
def test_a_pyramid_has_the_maps_of_the_last_stages(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = ResNet(name=name, variant="d")
        maps = model.pyramid(torch.zeros(1, 3, 64, 96))
    assert model.stage_channels[-3:] == channels
    assert model.stage_strides[-3:] == (8, 16, 32)
    assert [tuple(level.shape) for level in maps] == [(1, count, 8 >> n, 12 >> n) for n, count in enumerate(channels)]


def test_the_last_map_of_a_pyramid_is_the_feature_map() -> None:
    model = small(frozen_norm=False)
    pixels = torch.randn(1, 3, 70, 33)
    maps = model.pyramid(pixels, levels=2)
    assert len(maps) == 2
    assert torch.equal(maps[-1], model(pixels))
    assert [tuple(level.shape[-2:]) for level in maps] == [(5, 3), (3, 2)]


def test_variant_d_has_a_deep_stem_and_projects_in_every_stage() -> None:
    model = small(variant="d", frozen_norm=False)
    keys = set(model.state_dict())
    assert {"body.conv1.0.weight", "body.conv1.3.weight", "body.conv1.6.weight"} <= keys
    assert {f"body.layer{stage}.0.downsample.1.weight" for stage in (1, 2, 3, 4)} <= keys
    assert model.body.conv1[0].weight.shape == (4, 3, 3, 3)
    assert small(variant="d").pyramid(torch.randn(1, 3, 64, 64))[0].shape == (1, 16, 8, 8)
    with pytest.raises(ValueError, match="even width, not 7"):
        small(variant="d", width=7)


def test_freezing_the_stem_alone() -> None:
    model = small(variant="d", frozen_norm=False)
    model.freeze_stem(0)
    frozen = {key.split(".")[1] for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {"conv1", "bn1"}
