"""Reads outputs of the original implementations, and makes their weights anew from the key names."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


@dataclass
class Fixture:
    """One run of an original: weights, inputs, outputs and how closely they must agree."""

    spec: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]

    def images(self, name: str = "in/images") -> torch.Tensor:
        images = self.tensors[name]
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def check(self, name: str, actual: torch.Tensor) -> None:
        """Compare with out/<name> under the tolerance that the fixture itself suggests."""
        expected = self.tensors[f"out/{name}"]
        assert actual.shape == expected.shape, name
        allowed = self.spec["tolerance_f32_vs_f64"]["tensors"][name]
        if "suggested_atol" in allowed:
            worst = (actual.float() - expected.float()).abs().max().item()
            assert worst <= allowed["suggested_atol"], f"{name}: differs by {worst}"
        else:
            assert allowed["suggested_max_mismatch_frac"] == 0.0
            assert torch.equal(actual, expected), name

    def check_value(self, name: str, actual: float) -> None:
        """Compare with a number of ``values`` under its relative tolerance."""
        expected: Any = self.spec["values"]
        head, *keys = name.split("/", 2)
        for key in [head, *keys]:
            expected = expected[key]
        rtol = self.spec["tolerance_f32_vs_f64"]["values"][name]["suggested_rtol"]
        assert abs(actual - expected) <= rtol * abs(expected), f"{name}: {actual} is not {expected}"


def load_fixture(golden: Path, name: str, parts: tuple[str, ...] = ("",)) -> Fixture:
    """One fixture, with the weights whose keys start with one of ``parts``."""
    loader = importlib.util.spec_from_file_location("recipe", golden / "recipe.py")
    assert loader is not None
    assert loader.loader is not None
    recipe = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(recipe)
    spec = json.loads((golden / name / "spec.json").read_text())
    tensors = load_file(golden / name / "tensors.safetensors")
    spec["state_dict"] = {key: kind for key, kind in spec["state_dict"].items() if key.startswith(parts)}
    weights = {key: torch.from_numpy(value.copy()) for key, value in recipe.state_dict(spec).items()}
    weights.update({key: tensors[f"constructed/{key}"] for key in spec["constructed"] if key.startswith(parts)})
    return Fixture(spec, tensors, weights)
