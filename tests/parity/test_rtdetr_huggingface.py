"""RT-DETR, versions 1 and 2, against Hugging Face's: its folders are read by us, and ours by it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

from sleuth.errors import UserError
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.origins.coco_names import THINGS
from sleuth.weights.origins.huggingface import check_config, open_folder
from sleuth.weights.origins.huggingface_export import write_folder

Peer = RTDetrForObjectDetection | RTDetrV2ForObjectDetection

SMALL: dict[str, Any] = {
    "d_model": 48,
    "encoder_hidden_dim": 40,
    "encoder_ffn_dim": 24,
    "encoder_attention_heads": 5,
    "decoder_attention_heads": 3,
    "decoder_ffn_dim": 36,
    "decoder_layers": 2,
    "decoder_n_points": 3,
    "num_queries": 17,
    "num_labels": 5,
}

CASES: dict[str, dict[str, Any]] = {
    "basic": {},
    "bottleneck": {"layer_type": "bottleneck", "depths": [3, 4, 6, 3], "width": 4, "hidden_expansion": 0.5},
    "trained norms": {"freeze_backbone_batch_norms": False, "encoder_layers": 2},
    "two of the maps": {"levels": 2, "decoder_n_points": 2},
    "a coarser level": {"num_feature_levels": 4, "d_model": 40, "decoder_attention_heads": 5},
    "other activations": {"activation_function": "relu", "decoder_activation_function": "gelu"},
    "no encoder layer": {"encoder_layers": 0, "num_denoising": 0},
    "learned queries": {"learn_initial_query": True},
}
SECOND: dict[str, dict[str, Any]] = {
    "discrete": {"decoder_method": "discrete"},
    "far points": {"decoder_offset_scale": 1.3},
}


def build_peer(version: int, changes: dict[str, Any]) -> Peer:
    """A model of theirs with random weights in which no norm is the identity and queries differ."""
    torch.manual_seed(0)
    options = SMALL | changes
    layer_type, width = options.pop("layer_type", "basic"), options.pop("width", 8)
    levels = options.pop("levels", 3)
    sizes = [width * (4 if layer_type == "bottleneck" else 1) * 2**stage for stage in range(4)]
    backbone = RTDetrResNetConfig(
        embedding_size=width,
        hidden_sizes=sizes,
        depths=options.pop("depths", [1, 1, 1, 1]),
        layer_type=layer_type,
        out_indices=list(range(5 - levels, 5)),
    )
    every = options.setdefault("num_feature_levels", levels)
    options |= {
        "encoder_in_channels": sizes[-levels:],
        "decoder_in_channels": [options["encoder_hidden_dim"]] * levels,
        "encode_proj_layers": [levels - 1],
        "feat_strides": [8, 16, 32][-levels:],
    }
    model: Peer
    if version == 1:
        model = RTDetrForObjectDetection(RTDetrConfig(backbone_config=backbone, **options))
    else:
        model = RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, decoder_n_levels=every, **options))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("n_points_scale"):
                continue
            elif tensor.dim() == 1 and "sampling_offsets" not in name:
                tensor.uniform_(-0.1, 0.1) if name.endswith("bias") else tensor.uniform_(0.6, 1.2)
            elif tensor.dim() == 2:
                small = 0.3 if "sampling_offsets" in name or "bbox" in name else 1.0
                tensor.normal_(std=small / tensor.shape[1] ** 0.5)
            elif tensor.dim() == 4:
                # Theirs start so small that every token looks the same, and no one can tell which are best.
                tensor.normal_(std=(1.5 / tensor[0].numel()) ** 0.5)
    if options.get("learn_initial_query"):
        # Theirs forgets that this is a module, and fails.
        table = model.model.weight_embedding
        table.tile = table.weight.tile
    return model.eval()


def picture(height: int, width: int, batch: int = 2) -> ImageBatch:
    pixels = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return ImageBatch(pixels=pixels, valid=torch.ones(batch, height, width, dtype=torch.bool))


@torch.no_grad()
def assert_same(peer: Peer, ours: LoadedModel, images: ImageBatch) -> None:
    """Every layer gives the same answers, and each of them is worth comparing."""
    theirs = peer(pixel_values=images.pixels)
    run = ours.model(images)
    pairs: dict[str, tuple[Tensor, Tensor, float]] = {
        "logits": (run.logits, theirs.intermediate_logits.transpose(0, 1), 1e-4),
        "boxes": (run.boxes_cxcywh, theirs.intermediate_reference_points.transpose(0, 1), 1e-5),
        "proposed logits": (run.proposals.logits, theirs.enc_topk_logits, 1e-4),
        "proposed boxes": (run.proposals.boxes_cxcywh, theirs.enc_topk_bboxes, 1e-5),
    }
    for name, (found, expected, atol) in pairs.items():
        assert expected.isfinite().all()
        assert expected.std(dim=-2).mean() > 1e-3, f"{name} are the same for every query, so they show nothing"
        torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text, at=name: f"{at}: {text}")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of theirs, of version 2."""
    folder = tmp_path_factory.mktemp("small")
    build_peer(2, {}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_folders_of_theirs_give_the_same_answers(case: str, version: int, tmp_path: Path) -> None:
    _check(build_peer(version, CASES[case]), tmp_path, version)


@pytest.mark.parametrize("case", SECOND)
def test_what_only_version_2_has(case: str, tmp_path: Path) -> None:
    _check(build_peer(2, SECOND[case]), tmp_path, 2)


def _check(peer: Peer, folder: Path, version: int) -> None:
    # Each layout once, with pictures that are squares and such that are none.
    for layout, size in (("hub", (64, 96)), ("v5", (64, 64))):
        peer.save_pretrained(folder / layout, save_original_format=layout == "hub")
        ours = open_folder(folder / layout)
        assert ours.config.version == version
        assert ours.preprocess.size_hw == (640, 640)
        assert ours.loss.classes == "varifocal"
        assert_same(peer, ours, picture(*size))


@pytest.mark.parametrize("version", [1, 2])
def test_a_large_picture_of_another_shape(version: int, tmp_path: Path) -> None:
    peer = build_peer(version, {})
    peer.save_pretrained(tmp_path)
    assert_same(peer, open_folder(tmp_path), picture(256, 320, batch=1))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", ["basic", "trained norms", "two of the maps", "no encoder layer"])
def test_folders_of_ours_are_read_by_theirs(case: str, version: int, tmp_path: Path) -> None:
    build_peer(version, CASES[case]).save_pretrained(tmp_path / "theirs")
    ours = open_folder(tmp_path / "theirs")
    write_folder(tmp_path / "ours", ours)
    kind = RTDetrForObjectDetection if version == 1 else RTDetrV2ForObjectDetection
    peer, info = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same(peer.eval(), ours, picture(64, 96))
    again = open_folder(tmp_path / "ours")
    assert (again.config, again.preprocess, again.loss) == (ours.config, ours.preprocess, ours.loss)


def test_the_80_classes_of_coco_get_its_names_and_ids(tmp_path: Path) -> None:
    peer = build_peer(1, {"num_labels": 80})
    # The published files have some of these words.
    names = [{"couch": "sofa", "tv": "tvmonitor"}.get(name, name) for name in THINGS.values()]
    peer.config.id2label = dict(enumerate(names))
    peer.save_pretrained(tmp_path)
    card = open_folder(tmp_path).card
    assert card.names == tuple(THINGS.values())
    assert card.category_ids == tuple(THINGS)


def test_layers_that_do_not_run_are_left_out(tmp_path: Path) -> None:
    build_peer(2, {"decoder_layers": 3}).save_pretrained(tmp_path / "theirs")
    ours = open_folder(tmp_path / "theirs")
    ours.model.eval_layers = 2
    card = replace(ours.card, config=ours.card.config | {"eval_layers": 2})
    shorter = LoadedModel(ours.model, card)
    write_folder(tmp_path / "ours", shorter)
    peer = RTDetrV2ForObjectDetection.from_pretrained(tmp_path / "ours")
    assert peer.config.decoder_layers == 2
    assert_same(peer.eval(), shorter, picture(64, 64))


def test_heads_that_are_there_twice_have_to_agree(tmp_path: Path) -> None:
    build_peer(1, {}).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    twice = {key.removeprefix("model.decoder."): value.clone() for key, value in tensors.items() if "_embed." in key}
    twice = {key: value for key, value in twice.items() if key.startswith(("class_embed", "bbox_embed"))}
    assert len(twice) == 16
    save_file(tensors | twice, file, metadata={"format": "pt"})
    open_folder(tmp_path)
    twice["class_embed.1.bias"] += 1
    save_file(tensors | twice, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="class_embed"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eval_size", 640),
        ("normalize_before", True),
        ("positional_encoding_temperature", 20),
        ("encoder_activation_function", "relu"),
        ("activation_function", "gelu_new"),
        ("attention_dropout", 0.2),
        ("batch_norm_eps", 1e-3),
        ("encode_proj_layers", [1, 2]),
        ("decoder_in_channels", [40, 40, 41]),
        ("decoder_n_levels", 4),
        ("encoder_in_channels", [16, 32, 63]),
        ("decoder_method", "nearest"),
        ("matcher_alpha", 0.5),
        ("backbone", "resnet50"),
        ("use_timm_backbone", True),
        ("mystery", 1),
    ],
)
def test_what_cannot_be_honoured_is_named(name: str, value: object, small: Path, tmp_path: Path) -> None:
    check_config(small)
    values = json.loads((small / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {name: value}))
    with pytest.raises(UserError, match=name):
        check_config(tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_points": (3, 3, 2)}, "points"),
        ({"query_select": "one2many"}, "one2many"),
        ({"learned_queries": True}, "learned"),
        ({"encoder_depth": 0.34}, "encoder_depth"),
        ({"positions": "original"}, "squares"),
    ],
)
def test_what_theirs_cannot_express_is_refused(changes: dict[str, Any], what: str, small: Path, tmp_path: Path) -> None:
    ours = open_folder(small)
    preprocess = ours.card.preprocess | {"size_hw": (64, 96)}
    card = replace(ours.card, config=ours.card.config | changes, preprocess=preprocess)
    with pytest.raises(UserError, match=what):
        write_folder(tmp_path / "ours", LoadedModel(ours.model, card))
