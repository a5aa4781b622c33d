"""Hugging Face's D-FINE: saved by it, loaded by us, it answers alike, and so does ours loaded there."""

import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
from dfine_huggingface_models import ask_ours, ask_peer, batch, build_peer, save_peer
from huggingface_models import assert_same
from transformers import DFineForObjectDetection

from sleuth.errors import UserError
from sleuth.weights.origins.huggingface import open_folder
from sleuth.weights.origins.huggingface_export import write_folder

PEERS: dict[str, dict[str, Any]] = {
    "three levels": {"options": {}},
    "trained norms": {"options": {"freeze_backbone_batch_norms": False}, "affine": False},
    "two levels": {"options": {"num_feature_levels": 2, "decoder_n_points": [3, 3], "hidden_expansion": 0.5}},
    "another width": {"options": {"encoder_hidden_dim": 32, "reg_scale": 8.0, "decoder_n_points": 4}, "size": "b4"},
    "discrete": {"options": {"decoder_method": "discrete", "num_denoising": 0, "encoder_layers": 2}},
}


@pytest.mark.parametrize("layout", ["hub", "v5"])
@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_detector_answers_alike_both_ways(peer: dict[str, Any], layout: str, tmp_path: Path) -> None:
    model = build_peer(**peer)
    theirs = ask_peer(model, batch())
    loaded = open_folder(save_peer(model, tmp_path / "theirs", layout=layout))
    assert_same(ask_ours(loaded.model, batch()), theirs)
    assert loaded.loss.classes == "varifocal"
    assert loaded.preprocess.size_hw == (640, 640)
    write_folder(tmp_path / "ours", loaded)
    again, report = DFineForObjectDetection.from_pretrained(tmp_path / "ours", output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not report.get(fault), (fault, report[fault])
    assert_same(ask_peer(again.eval(), batch()), theirs, atol=1e-5)


def test_what_we_write_has_the_keys_that_they_write(tmp_path: Path) -> None:
    theirs = save_peer(build_peer({}), tmp_path / "theirs")
    write_folder(tmp_path / "ours", open_folder(theirs))
    expected, found = (load_file(tmp_path / who / "model.safetensors") for who in ("theirs", "ours"))
    assert found.keys() == expected.keys()
    assert all(found[key].equal(expected[key]) for key in expected)


def test_heads_under_both_of_their_names_are_read_once(tmp_path: Path) -> None:
    model = build_peer({})
    file = save_peer(model, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    heads = {key: value for key, value in tensors.items() if ".class_embed" in key or ".bbox_embed" in key}
    twice = {key.removeprefix("model.decoder."): value.clone() for key, value in heads.items()}
    for kept in (tensors | twice, {key: value for key, value in (tensors | twice).items() if key not in heads}):
        save_file(kept, file, {"format": "pt"})
        assert_same(ask_ours(open_folder(tmp_path).model, batch()), ask_peer(model, batch()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learn_initial_query": True}, "learn_initial_query = True cannot be honoured"),
        ({"eval_idx": 0}, "eval_idx = 0"),
        ({"decoder_method": "nearest"}, "known: default, discrete"),
        ({"feat_strides": [4, 8, 16]}, "feat_strides"),
        ({"strange": 1}, "'strange' is unknown"),
    ],
)
def test_what_cannot_be_honoured_is_named(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    import json

    file = save_peer(build_peer({}), tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(UserError, match=message):
        open_folder(tmp_path)
