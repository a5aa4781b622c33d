"""timm's vision Transformers: saved by it, opened by us, they answer alike at every size; so do ours opened there."""

import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms.v2.functional import to_pil_image

sys.path.insert(0, str(Path(__file__).parent))
from transformers import AutoModelForImageClassification, DeiTForImageClassificationWithTeacher
from vit_models import TIMM, ask_ours, assert_same, build_timm, pictures, save_timm, sizes_of

from sleuth.errors import UserError
from sleuth.tasks.preprocess import preprocess_images
from sleuth.weights.origins.vit_folder import check_vit_config, open_vit_folder, write_vit_huggingface, write_vit_timm

GRIDS = [(3, 5), (7, 2), (6, 6)]


@pytest.mark.parametrize("name", TIMM)
@torch.no_grad()
def test_a_model_answers_alike_both_ways(name: str, tmp_path: Path) -> None:
    peer = build_timm(name)
    native = pictures(*peer.patch_embed.img_size)
    check_vit_config(save_timm(peer, tmp_path / "theirs"))
    loaded = open_vit_folder(tmp_path / "theirs")
    theirs = peer(native)
    assert_same(ask_ours(loaded.model, native), theirs)
    write_vit_timm(tmp_path / "ours", loaded)
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    assert_same(again(native), theirs, atol=1e-5)
    assert open_vit_folder(tmp_path / "ours").config == loaded.config


@pytest.mark.parametrize("name", ["vit", "oblong", "registers", "deit, distilled", "dinov2, registers", "no positions"])
@torch.no_grad()
def test_a_model_answers_alike_at_other_sizes(name: str, tmp_path: Path) -> None:
    peer, flexible = build_timm(name), build_timm(name, dynamic_img_size=True)
    flexible.load_state_dict(peer.state_dict())
    loaded = open_vit_folder(save_timm(peer, tmp_path))
    for size_hw in sizes_of(loaded.config.patch_size, GRIDS):
        assert_same(ask_ours(loaded.model, pictures(*size_hw)), flexible(pictures(*size_hw)))


def test_what_we_write_has_the_keys_that_timm_writes(tmp_path: Path) -> None:
    theirs = save_timm(build_timm("deit, distilled"), tmp_path / "theirs")
    write_vit_timm(tmp_path / "ours", open_vit_folder(theirs))
    expected, found = (load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours"))
    assert found.keys() == expected.keys()
    assert all(found[key].equal(expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_base_patch16_clip_224", {}),
        ("vit_base_patch16_224", {"qk_norm": True}),
        ("vit_base_patch16_224", {"scale_mlp_norm": True}),
        ("vit_base_patch16_224", {"scale_attn_norm": True}),
        ("vit_base_patch16_224", {"global_pool": "map", "class_token": False}),
        ("vit_base_patch16_224", {"global_pool": "avg", "pool_include_prefix": True}),
        ("vit_base_patch16_224", {"final_norm": False}),
        ("vit_base_patch16_224", {"act_layer": "hard_swish"}),
        ("resnet18", {}),
    ],
)
def test_what_ours_does_not_have_is_refused(architecture: str, options: dict[str, object], tmp_path: Path) -> None:
    small = {} if architecture == "resnet18" else {"embed_dim": 48, "depth": 1, "num_heads": 3, "img_size": 32}
    save_timm(timm.create_model(architecture, num_classes=3, **small, **options), tmp_path)
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        open_vit_folder(tmp_path)
    assert len(caught.value.line().splitlines()) == 1


@pytest.mark.parametrize("name", ["vit", "mean, norm before", "registers", "deit, distilled", "dinov2, gated"])
@torch.no_grad()
def test_from_timm_to_hugging_face(name: str, tmp_path: Path) -> None:
    peer = build_timm(name)
    loaded = open_vit_folder(save_timm(peer, tmp_path / "timm"))
    if name == "dinov2, gated":
        # Its hidden size follows from no whole ratio there.
        with pytest.raises(UserError, match="mlp_ratio"):
            write_vit_huggingface(tmp_path / "huggingface", loaded)
        return
    write_vit_huggingface(tmp_path / "huggingface", loaded)
    native = pictures(*peer.patch_embed.img_size)
    # What the automatic class takes for a DeiT has no head for the distillation token.
    kind = DeiTForImageClassificationWithTeacher if name == "deit, distilled" else AutoModelForImageClassification
    again, report = kind.from_pretrained(tmp_path / "huggingface", output_loading_info=True)
    assert not any(report.get(fault) for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same(again.eval()(pixel_values=native).logits, peer(native))
    ours = open_vit_folder(tmp_path / "huggingface")
    assert ours.config.resizing == "antialiased"
    other = pictures(48, 96)
    assert_same(ask_ours(ours.model, other), ask_ours(loaded.model, other))


@pytest.mark.parametrize("options", [{}, {"crop_pct": 1.0}, {"crop_mode": "squash"}, {"interpolation": "bilinear"}])
@pytest.mark.parametrize("size_hw", [(75, 120), (200, 90)])
def test_pictures_are_prepared_alike(options: dict[str, object], size_hw: tuple[int, int], tmp_path: Path) -> None:
    peer = timm.create_model("vit_base_patch16_224", pretrained_cfg_overlay=options, embed_dim=48, depth=1, num_heads=3,
                             img_size=64, num_classes=3)  # fmt: skip
    loaded = open_vit_folder(save_timm(peer, tmp_path))
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=False)  # as the folder has it
    smooth = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))[None]
    image = torch.nn.functional.interpolate(smooth, size=size_hw, mode="bilinear")[0].mul(255).to(torch.uint8)
    theirs = create_transform(**resolve_model_data_config(peer), is_training=False)(to_pil_image(image))
    ours = preprocess_images([image], loaded.preprocess).pixels[0]
    assert ours.shape == theirs.shape
    # timm resizes by PIL, which rounds some pixels the other way, once in each direction; a shift would be whole steps.
    steps = (ours - theirs).abs() * 255 * min(loaded.preprocess.std)
    assert steps.max() <= 2.01
    assert steps.mean() < 0.1
    write_vit_timm(tmp_path / "ours", loaded)
    assert open_vit_folder(tmp_path / "ours").preprocess == loaded.preprocess
