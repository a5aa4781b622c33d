"""Models of Hugging Face's own classes: saved by them, loaded by us, they answer alike, and so do ours loaded there."""

import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from huggingface_models import ask_ours, ask_peer, assert_same, batch, build_peer, resnet, save_peer
from transformers import DetrForObjectDetection, DetrForSegmentation

from sleuth.weights.checkpoint import load_model, save_model
from sleuth.weights.origins.huggingface import open_folder
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.original import open_original, write_original

ALL_STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
DETECTORS: dict[str, dict[str, Any]] = {
    "timm resnet18": {"backbone": "resnet18"},
    "dilated": {"backbone": "resnet18", "dilation": True},
    "learned positions": {"backbone": "resnet18", "position_embedding_type": "learned"},
    "one layer": {"backbone": "resnet18", "encoder_layers": 1, "decoder_layers": 1},
    "gelu": {"backbone": "resnet18", "activation_function": "gelu"},
    "auxiliary losses": {"backbone": "resnet18", "auxiliary_loss": True, "decoder_layers": 3},
    "basic blocks": {"backbone_config": resnet("basic", [2, 2, 2, 2], out_features=["stage4"])},
    "bottlenecks": {"backbone_config": resnet("bottleneck", [3, 4, 6, 3], width=4, **ALL_STAGES)},
    "ten layers": {"backbone_config": resnet("basic", [1, 1, 1, 1], out_indices=[4])},
    "three stages used": {"backbone_config": resnet("basic", [2, 2, 2, 2], out_features=["stage2", "stage3"])},
    "three stages made": {"backbone_config": resnet("basic", [3, 4, 6], out_features=["stage3"])},
}
PANOPTIC: dict[str, Any] = {"d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 4}
SEGMENTERS: dict[str, dict[str, Any]] = {
    "timm resnet18": {"backbone": "resnet18", **PANOPTIC},
    "dilated": {"backbone": "resnet18", "dilation": True, **PANOPTIC},
    "own resnet": {"backbone_config": resnet("basic", [1, 1, 1, 1], **ALL_STAGES), **PANOPTIC},
    "narrow, gelu": {"backbone": "resnet18", **PANOPTIC, "d_model": 32, "activation_function": "gelu"},
}


@pytest.mark.parametrize("layout", ["hub", "v5"])
@pytest.mark.parametrize("options", DETECTORS.values(), ids=DETECTORS)
def test_a_detector_answers_alike_both_ways(options: dict[str, Any], layout: str, tmp_path: Path) -> None:
    peer = build_peer(options)
    theirs = ask_peer(peer, batch())
    loaded = open_folder(save_peer(peer, tmp_path / "theirs", layout=layout))
    assert_same(ask_ours(loaded.model, batch()), theirs)
    write_folder(tmp_path / "ours", loaded)
    again = _from_pretrained(DetrForObjectDetection, tmp_path / "ours")
    assert_same(ask_peer(again, batch()), theirs, atol=1e-5)


@pytest.mark.parametrize("layout", ["hub", "v5"])
@pytest.mark.parametrize("options", SEGMENTERS.values(), ids=SEGMENTERS)
def test_masks_are_alike_both_ways(options: dict[str, Any], layout: str, tmp_path: Path) -> None:
    peer = build_peer(options, masks=True)
    theirs = ask_peer(peer, batch())
    loaded = open_folder(save_peer(peer, tmp_path / "theirs", layout=layout))
    assert_same(ask_ours(loaded.model, batch()), theirs)
    write_folder(tmp_path / "ours", loaded)
    again = _from_pretrained(DetrForSegmentation, tmp_path / "ours")
    assert_same(ask_peer(again, batch()), theirs, atol=1e-5)


def test_what_we_write_has_the_keys_that_they_write(tmp_path: Path) -> None:
    for number, (options, masks) in enumerate(
        [(DETECTORS["learned positions"], False), (SEGMENTERS["own resnet"], True)]
    ):
        theirs = save_peer(build_peer(options, masks=masks), tmp_path / f"theirs{number}")
        write_folder(tmp_path / f"ours{number}", open_folder(theirs))
        expected = load_file(theirs / "model.safetensors")
        found = load_file(tmp_path / f"ours{number}" / "model.safetensors")
        kept = {key for key in expected if not key.endswith("num_batches_tracked")}
        assert found.keys() == kept
        assert all(found[key].equal(expected[key]) for key in kept)


def test_from_them_to_our_file_and_on_to_the_original_s(tmp_path: Path) -> None:
    options = {"backbone": "resnet50", **PANOPTIC, "d_model": 128, "decoder_attention_heads": 8, "decoder_ffn_dim": 24}
    peer = build_peer({**options, "dilation": True}, masks=True)
    loaded = open_folder(save_peer(peer, tmp_path / "theirs"))
    save_model(tmp_path / "ours.safetensors", loaded.model, loaded.card)
    write_original(tmp_path / "original.pth", load_model(tmp_path / "ours.safetensors"))
    again = open_original(tmp_path / "original.pth")
    assert_same(ask_ours(again.model, batch(64, 64)), ask_peer(peer, batch(64, 64)))


def _from_pretrained(kind: type[Any], folder: Path) -> Any:
    """Their loader, which has to find every key and no other."""
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not report.get(fault), (fault, report[fault])
    return model.eval()
