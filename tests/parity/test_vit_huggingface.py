"""Hugging Face's ViT, DeiT and DINOv2: saved by it, opened by us, they answer alike, and so do ours opened there."""

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from transformers import BitImageProcessor, DeiTImageProcessor, ViTImageProcessor
from vit_models import HUGGINGFACE, ask_huggingface, ask_ours, assert_same, build_huggingface, pictures, sizes_of

from sleuth.errors import UserError
from sleuth.tasks.preprocess import preprocess_images
from sleuth.weights.origins.vit_folder import check_vit_config, open_vit_folder, write_vit_huggingface, write_vit_timm

GRIDS = [(3, 5), (7, 2), (6, 6)]


@pytest.mark.parametrize("layout", ["hub", "v5"])
@pytest.mark.parametrize("name", HUGGINGFACE)
def test_a_model_answers_alike_both_ways_at_every_size(name: str, layout: str, tmp_path: Path) -> None:
    peer, native = build_huggingface(name), pictures(64, 64)
    peer.save_pretrained(tmp_path / "theirs", save_original_format=layout == "hub")
    check_vit_config(tmp_path / "theirs")
    loaded = open_vit_folder(tmp_path / "theirs")
    theirs = ask_huggingface(peer, native)
    assert_same(ask_ours(loaded.model, native), theirs)
    for size_hw in sizes_of(16, GRIDS):
        other = pictures(*size_hw)
        assert_same(ask_ours(loaded.model, other), ask_huggingface(peer, other, resize=True))
    write_vit_huggingface(tmp_path / "ours", loaded)
    again, report = type(peer).from_pretrained(tmp_path / "ours", output_loading_info=True)
    faults = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
    assert not any(report.get(fault) for fault in faults), report
    assert_same(ask_huggingface(again.eval(), native), theirs, atol=1e-5)
    assert open_vit_folder(tmp_path / "ours").config == loaded.config


@pytest.mark.parametrize("name", ["vit", "vit, backbone", "deit, teacher", "dinov2, gated", "dinov2, registers"])
def test_what_we_write_has_the_keys_that_they_write(name: str, tmp_path: Path) -> None:
    build_huggingface(name).save_pretrained(tmp_path / "theirs", save_original_format=True)
    write_vit_huggingface(tmp_path / "ours", open_vit_folder(tmp_path / "theirs"))
    expected, found = (load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours"))
    assert found.keys() == expected.keys()
    # The mask token is not read, and comes back as zeros.
    assert all(found[key].equal(expected[key]) for key in expected if "mask_token" not in key)


@pytest.mark.parametrize("name", ["vit", "deit, teacher", "dinov2, backbone", "dinov2, registers, gated, backbone"])
@torch.no_grad()
def test_from_hugging_face_to_timm(name: str, tmp_path: Path) -> None:
    peer, native = build_huggingface(name), pictures(64, 64)
    peer.save_pretrained(tmp_path / "theirs")
    loaded = open_vit_folder(tmp_path / "theirs")
    write_vit_timm(tmp_path / "timm", loaded)
    again = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    assert_same(again(native), ask_huggingface(peer, native))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "mish"}, "hidden_act"),
        ({"num_channels": 1}, "num_channels"),
        ({"patch_size": [16, 8]}, "patch_size"),
        ({"hidden_size": 50}, "num_heads"),
        ({"rotary_theta": 100}, "rotary_theta"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "ViTForMaskedImageModeling"),
        ({"model_type": "swin"}, "swin"),
        ({"num_hidden_layers": 3}, "blocks.2"),
    ],
)
def test_what_cannot_be_honoured_is_named(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    build_huggingface("vit").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as caught:
        open_vit_folder(tmp_path)
    assert len(caught.value.line().splitlines()) == 1


PROCESSORS = {
    "vit": ViTImageProcessor(size={"height": 64, "width": 64}),
    "vit, bicubic": ViTImageProcessor(size={"height": 64, "width": 80}, resample=3),
    "deit": DeiTImageProcessor(size={"height": 72, "width": 72}, crop_size={"height": 64, "width": 64}),
    "dinov2": BitImageProcessor(size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}),
    "no crop": BitImageProcessor(size={"shortest_edge": 72}, do_center_crop=False),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size_hw", [(75, 120), (200, 90)])
def test_pictures_are_prepared_alike(name: str, size_hw: tuple[int, int], tmp_path: Path) -> None:
    processor = PROCESSORS[name]
    build_huggingface("vit").save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = open_vit_folder(tmp_path)
    image = torch.randint(0, 256, (3, *size_hw), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    theirs = processor(image, return_tensors="pt").pixel_values
    ours = preprocess_images([image], loaded.preprocess).pixels
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    write_vit_huggingface(tmp_path / "ours", loaded)
    assert open_vit_folder(tmp_path / "ours").preprocess == loaded.preprocess
