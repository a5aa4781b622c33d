"""Softmax, sigmoid, linear, local and reduced attention in the same small ViT: time and memory.

    uv run python benchmarks/attention_variants.py --threads 1 --markdown docs/attention-variants.md

Four blocks of 192 channels on one picture of growing size: forward pass, and forward and backward pass. The variants
take turns and medians are compared; peak memory is that of a process of its own for each. What they learn is measured
by attention_accuracy.py.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from machine import describe, table
from turns import Step, add_options, foot, medians, peak_in_a_process, peak_mib, publish, take_turns

from sleuth.models.vit import VitConfig, build_vit
from sleuth.types.batches import ImageBatch

VARIANTS = ("softmax", "sigmoid", "linear", "local", "reduced")
RADIUS, REDUCTION = 2, 2
SIDES = (8, 16, 32, 64)
"""Rows and columns of patches."""

PASSES = {"forward": "forward pass", "training": "forward and backward pass"}
CONFIG = VitConfig(
    patch_size=16,
    num_classes=10,
    dim=192,
    depth=4,
    num_heads=3,
    feedforward_dim=768,
    pool="mean",
    class_token=False,
    prefix_positions=0,
    positions="sine",
    radius=RADIUS,
    reduction=REDUCTION,
)


def cases() -> Iterator[tuple[str, str, int]]:
    """Name, pass and rows of patches of what is measured."""
    for each in PASSES:
        for side in SIDES:
            yield f"{each}-{side * side}", each, side


# Time and memory


def make_step(each: str, side: int, variant: str, device: str) -> Step:
    """One pass over one picture of so many rows of patches."""
    torch.manual_seed(0)
    model = build_vit(replace(CONFIG, attention=variant)).to(device)
    size = side * CONFIG.patch_size
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    images = ImageBatch(pixels, torch.ones(1, size, size, dtype=torch.bool)).to(device)

    @torch.inference_mode()
    def forward() -> object:
        return model(images).logits

    def training() -> object:
        model(images).logits.logsumexp(-1).sum().backward()
        model.zero_grad(set_to_none=True)
        return None

    return forward if each == "forward" else training


def measure_memory(each: str, side: int, variant: str, device: str) -> float:
    """MiB at the peak of two calls, above a process that has run the smallest picture once."""
    make_step(each, min(SIDES), variant, device)()  # loads the kernels, which are as large for every picture
    return peak_mib(lambda: make_step(each, side, variant, device), device)


def time_case(each: str, side: int, words: argparse.Namespace) -> dict[str, float]:
    steps = {variant: make_step(each, side, variant, words.device) for variant in VARIANTS}
    return medians(take_turns(steps, words.repeats, words.device), VARIANTS, words.clock)


# Report


def cost_tables(results: dict[str, Any]) -> str:
    """A table of time and one of memory for either pass: a row a variant, a column a length."""
    found = results["cases"]
    parts = []
    for each, title in PASSES.items():
        for key, unit, digits in (("seconds", "ms", 1), ("memory_mib", "MiB", 0)):
            sides = [side for side in SIDES if key in found.get(f"{each}-{side * side}", {})]
            if not sides:
                continue
            scale = 1000 if key == "seconds" else 1
            rows = [
                [variant, *(f"{scale * found[f'{each}-{side * side}'][key][variant]:,.{digits}f}" for side in sides)]
                for variant in VARIANTS
            ]
            what = f"Time of a {title}" if key == "seconds" else f"Peak memory of a {title}"
            parts.append(f"{what}, {unit}, by tokens:\n\n{table(['', *(f'{s * s:,}' for s in sides)], rows)}")
    return "\n\n".join([*parts, foot(results, "float32")])


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, [name for name, *_ in cases()], repeats=5)
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    named = {name: (each, side) for name, each, side in cases()}
    if words.memory_of:
        print(measure_memory(*named[words.memory_of[0]], words.memory_of[1], words.device))
        return
    results: dict[str, Any] = {"machine": describe(words.device), "repeats": words.repeats, "clock": words.clock}
    results["cases"] = {}
    for name, (each, side) in named.items():
        if words.only and name not in words.only:
            continue
        found: dict[str, dict[str, float]] = {}
        if not words.no_time:
            found["seconds"] = time_case(each, side, words)
        if not words.no_memory:
            found["memory_mib"] = {variant: peak_in_a_process(name, variant, words) for variant in VARIANTS}
        if found:
            results["cases"][name] = found
            print(name, found, flush=True)
    publish(results, cost_tables(results), "attention-cost", words)


if __name__ == "__main__":
    main()
