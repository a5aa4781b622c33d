"""Pictures of different sizes in one batch: padded to the largest, or packed into few sequences. Which is faster when?

    uv run python benchmarks/vit_packing.py --markdown benchmarks/README.md

Before anything is timed, both must give the same logits, and those of each picture alone. Then padding, packing and one
picture after another take turns, and medians are compared.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from torch import Tensor

from sleuth.models.vit import VisionTransformer, build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.nn.packing import plan_packing
from sleuth.nn.patches import grid_of
from sleuth.types.batches import ImageBatch

WAYS = ("padded", "packed", "alone")
SIZES: dict[str, list[tuple[int, int]]] = {
    "all alike, 224 x 224": [(224, 224)] * 8,
    "one large, seven small": [(384, 384), *[(128, 128)] * 7],
    "sides of 128 to 320": [
        *((128, 256), (320, 192), (256, 256), (160, 128)),
        *((192, 320), (128, 128), (224, 160), (288, 224)),
    ],
    "portrait and landscape": [(320, 160), (160, 320)] * 4,
}


def draw_pictures(sizes: list[tuple[int, int]], device: str) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, generator=draw).to(device) for size in sizes]


def pad(pictures: list[Tensor]) -> ImageBatch:
    """One batch, as large as the highest and the widest picture."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    pixels = pictures[0].new_zeros(len(pictures), 3, height, width)
    valid = torch.zeros(len(pictures), height, width, dtype=torch.bool, device=pixels.device)
    for row, picture in enumerate(pictures):
        pixels[row, :, : picture.shape[1], : picture.shape[2]] = picture
        valid[row, : picture.shape[1], : picture.shape[2]] = True
    return ImageBatch(pixels, valid)


def ways_of(model: VisionTransformer, pictures: list[Tensor]) -> dict[str, Callable[[], Tensor]]:
    """What makes the logits of all pictures, in each of the three ways."""
    return {
        "padded": lambda: model(pad(pictures)).logits,
        "packed": lambda: torch.cat([answer.logits for answer in model.answer_packed(pictures)]),
        "alone": lambda: torch.cat([model(pad([picture])).logits for picture in pictures]),
    }


def tokens_of(model: VisionTransformer, sizes: list[tuple[int, int]]) -> dict[str, int]:
    """Tokens that each way computes with, those of padding among them."""
    grids = [grid_of(size, model.backbone.patch_size) for size in sizes]
    lengths = [height * width + model.backbone.num_prefix for height, width in grids]
    height, width = max(grid[0] for grid in grids), max(grid[1] for grid in grids)
    packing = plan_packing(lengths)
    return {
        "padded": len(sizes) * (height * width + model.backbone.num_prefix),
        "packed": packing.num_rows * packing.capacity,
        "alone": sum(lengths),
    }


@torch.inference_mode()
def measure(
    model: VisionTransformer, sizes: list[tuple[int, int]], repeats: int, device: str, clock: str
) -> dict[str, Any]:
    """Medians of each way, after their answers were found equal."""
    ways = ways_of(model, draw_pictures(sizes, device))
    answers = {way: step() for way, step in ways.items()}
    differences = {way: (answers[way] - answers["alone"]).abs().max().item() for way in WAYS}
    assert max(differences.values()) < 1e-4, differences
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, step in ways.items():
            now = time.perf_counter if clock == "wall" else time.process_time
            start = now()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            times[way].append(now() - start)
    medians = {way: statistics.median(times[way]) for way in WAYS}
    return {"seconds": medians, "differences": differences, "tokens": tokens_of(model, sizes), "times": times}


def as_markdown(results: dict[str, Any]) -> str:
    rows = []
    for name, found in results["cases"].items():
        milliseconds = [f"{1000 * found['seconds'][way]:.0f} ms" for way in WAYS]
        tokens = [f"{found['tokens'][way]}" for way in WAYS]
        rows.append([name, *milliseconds, f"{found['seconds']['padded'] / found['seconds']['packed']:.2f}", *tokens])
    header = ["eight pictures", *WAYS, "padded / packed", *(f"tokens, {way}" for way in WAYS)]
    clock = "wall time" if results["clock"] == "wall" else "processor time of the process"
    foot = (
        f"{results['model']}, inference, medians of {results['repeats']} turns, {clock}. {sentence(results['machine'])}"
    )
    return f"{table(header, rows)}\n\n{foot}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(VIT_VARIANTS), default="vit-s16")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor on a busy machine")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    machine = describe(words.device)
    torch.manual_seed(0)
    model = build_vit(VIT_VARIANTS[words.model]).eval().to(words.device)
    cases = {}
    for name, sizes in SIZES.items():
        cases[name] = measure(model, sizes, words.repeats, words.device, words.clock)
        print(name, {key: value for key, value in cases[name].items() if key != "times"}, flush=True)
    results = {"machine": machine, "repeats": words.repeats, "clock": words.clock, "model": words.model, "cases": cases}
    print(as_markdown(results))
    if words.json:
        write_json(words.json, results)
    if words.markdown:
        put_between_marks(words.markdown, "vit-packing", as_markdown(results))


if __name__ == "__main__":
    main()
