"""Positions of another size: the three ways of the field, each as its source has it, on squares and on oblongs."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed

sys.path.insert(0, str(Path(__file__).parent))
from vit_models import build_huggingface

from sleuth.nn.grid_positions import LearnedGridPositions, Resizing

GRIDS = [(4, 4), (3, 5), (7, 2), (1, 9), (11, 8), (2, 2)]


def learned(resizing: Resizing, table: torch.Tensor, *, side: int = 4, prefix: int = 1) -> LearnedGridPositions:
    positions = LearnedGridPositions(grid_hw=(side, side), dim=table.shape[-1], prefix=prefix, resizing=resizing)
    positions.table.data = table
    return positions


@pytest.mark.parametrize("grid_hw", GRIDS)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_antialiased_is_timm_s(grid_hw: tuple[int, int], prefix: int) -> None:
    table = torch.randn(1, prefix + 16, 12)
    expected = resample_abs_pos_embed(table, list(grid_hw), [4, 4], num_prefix_tokens=prefix)
    found = learned("antialiased", table, prefix=prefix)(grid_hw)
    torch.testing.assert_close(found[None], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid_hw", GRIDS)
@pytest.mark.parametrize(("name", "prefix"), [("vit", 1), ("deit", 2), ("dinov2", 1)])
def test_plain_is_hugging_face_s(name: str, prefix: int, grid_hw: tuple[int, int]) -> None:
    model = build_huggingface(name)
    embeddings = getattr(model, model.base_model_prefix).embeddings
    height, width = 16 * grid_hw[0], 16 * grid_hw[1]
    tokens = torch.zeros(1, prefix + grid_hw[0] * grid_hw[1], 48)
    expected = embeddings.interpolate_pos_encoding(tokens, height, width)
    found = learned("plain", embeddings.position_embeddings.data, prefix=prefix)(grid_hw)
    torch.testing.assert_close(found[None], expected, rtol=0, atol=1e-5)


def test_offset_is_dinov2_s(golden: Path) -> None:
    folder = golden / "dinov2_positions"
    spec = json.loads((folder / "spec.json").read_text())
    tensors = load_file(folder / "tensors.safetensors")
    positions = learned("offset", tensors["in/pos_embed"], side=spec["grid"])
    assert len(spec["grids_hw"]) >= 5
    for height, width in spec["grids_hw"]:
        expected = tensors[f"out/{height}x{width}"]
        torch.testing.assert_close(positions((height, width))[None], expected, rtol=0, atol=1e-5)


def test_the_three_differ() -> None:
    table = torch.randn(1, 17, 12)
    found = [learned(kind, table)((3, 5)) for kind in ("antialiased", "plain", "offset")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (found[one] - found[other]).abs().max() > 0.05
