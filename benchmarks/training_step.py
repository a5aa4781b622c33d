"""Time and peak memory of a training step of RT-DETR on the CPU, beside Hugging Face's of the same numbers, in one run.

    uv run --group bench python benchmarks/training_step.py --markdown benchmarks/README.md

A step is forward pass with denoising queries, Hungarian matching and losses of every layer and of the proposals,
backward pass and the fused AdamW on both sides. The two take turns, A B A B, and medians are compared. Peak memory is
that of a process of its own for each, above what it holds after its imports.

By default ours is a small RT-DETRv2; ``--model`` takes any name of the catalog, or a recipe. Hugging Face's has the
same numbers if ours is an RT-DETRv2, and the same weights: before anything is timed, answers, loss and gradient of both
must be equal. Else it is the small one, and the two are different models.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from peer import peer_inputs, peer_labels
from peer_rtdetr import RtDetrSize, build_rtdetr
from torch import nn
from turns import memory_mib, seconds

from sleuth.cli.sizes import parse_size
from sleuth.models.rtdetr import RtDetrConfig
from sleuth.models.rtdetr import build_rtdetr as build_ours
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.training.assemble import build_model
from sleuth.training.optimizer import OptimizerSettings, build_optimizer
from sleuth.training.recipe import load_recipe
from sleuth.types.batches import ImageBatch, Target
from sleuth.weights.catalog import build, entry
from sleuth.weights.maps.rtdetr_huggingface import rtdetr_huggingface

SIDES = ("sleuth", "peer")
CLASSES = 3
SMALL = RtDetrConfig(
    backbone="resnet18",
    backbone_width=16,
    frozen_norm=False,
    num_classes=CLASSES,
    num_queries=100,
    dim=96,
    num_heads=6,
    feedforward_dim=256,
    decoder_layers=3,
    encoder_dim=96,
    encoder_num_heads=6,
    encoder_feedforward_dim=256,
    encoder_expansion=0.5,
)
# Hugging Face's defaults, which are the paper's.
LOSS = DetectionLossConfig(
    classes="varifocal", focal_alpha=0.75, class_weight=1.0, l1_weight=5.0, giou_weight=2.0, match_class=2.0
)
_BLOCKS = {
    "resnet10": ("basic", (1, 1, 1, 1)),
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
}
Step = Callable[[], object]


def our_model(name: str) -> tuple[nn.Module, DetectionLossConfig, Any]:
    """Ours with fresh weights, what it is trained by, and its numbers: by name, from a recipe, or the small one."""
    if not name:
        return build_ours(SMALL), LOSS, SMALL
    if name.endswith(".toml"):
        recipe = load_recipe(Path(name))
        return (
            build_model(recipe, tuple(f"class {label}" for label in range(CLASSES))),
            recipe.loss,
            recipe.model.config,
        )
    return build(name, num_classes=CLASSES), entry(name).loss, entry(name).config


def size_of(config: Any) -> RtDetrSize:
    """The same numbers for Hugging Face's RT-DETRv2; the small ones if ours is another kind of model.

    Raises:
        ValueError: numbers that Hugging Face's cannot have.
    """
    if not isinstance(config, RtDetrConfig):
        return RtDetrSize()
    block, depths = _BLOCKS[config.backbone]
    wide = config.backbone_width * (4 if block == "bottleneck" else 1)
    same = {
        "levels": config.levels == 3,
        "encoder_depth": config.encoder_depth == 1.0,
        "encoder_dim": config.encoder_dim == config.dim,
        "encoder_num_heads": config.encoder_num_heads == config.num_heads,
        "num_points": len(set(config.num_points)) == 1 and len(config.num_points) == 3,
    }
    if not all(same.values()):
        unlike = ", ".join(name for name, fits in same.items() if not fits)
        raise ValueError(f"Hugging Face's RT-DETRv2 cannot follow {unlike} of this config")
    return RtDetrSize(
        stem=config.backbone_width,
        widths=(wide, 2 * wide, 4 * wide, 8 * wide),
        depths=depths,
        block=block,
        dim=config.dim,
        num_heads=config.num_heads,
        feedforward_dim=config.feedforward_dim,
        expansion=config.encoder_expansion,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        num_queries=config.num_queries,
        num_points=config.num_points[0],
        num_denoising=config.num_denoising,
        frozen_norm=config.frozen_norm,
    )


def make_batch(words: argparse.Namespace) -> tuple[ImageBatch, list[Target]]:
    """Random pictures of one size, each with as many objects."""
    draw = torch.Generator().manual_seed(1)
    size_hw = parse_size(words.size)
    images = ImageBatch(
        pixels=torch.randn(words.batch_size, 3, *size_hw, generator=draw),
        valid=torch.ones(words.batch_size, *size_hw, dtype=torch.bool),
    )
    targets = [
        Target(
            labels=torch.randint(0, CLASSES, (words.objects,), generator=draw),
            boxes_cxcywh=torch.rand(words.objects, 4, generator=draw) * 0.3 + 0.2,
        )
        for _ in range(words.batch_size)
    ]
    return images, targets


def make_step(side: str, words: argparse.Namespace) -> tuple[nn.Module, Step]:
    """A model and its whole training step."""
    torch.manual_seed(0)
    images, targets = make_batch(words)
    ours, loss, config = our_model(words.model)
    criterion = build_criterion(loss)
    model = ours if side == "sleuth" else build_rtdetr(size_of(config), CLASSES)
    model.requires_grad_(True).train().to(memory_format=torch.channels_last)
    del ours
    optimizer = build_optimizer(model, OptimizerSettings(rate=1e-6))

    def step() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=words.bf16):
            if side == "sleuth":
                prediction = model(images, targets)
            else:
                total = model(**peer_inputs(images), labels=peer_labels(targets)).loss
        if side == "sleuth":
            total = criterion(prediction, targets).total
        total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total.detach()

    return model, step


def check_equal(name: str) -> dict[str, float]:
    """Largest differences of answers, loss and gradient between the two, without denoising, which draws numbers.

    Raises:
        AssertionError: they are not the same model.
    """
    ours, loss, config = our_model(name)
    if not isinstance(config, RtDetrConfig) or config.version != 2:
        return {}
    torch.manual_seed(0)
    # Fresh heads move no box: louder ones tell layers apart.
    for head in (ours.queries.box_head, *ours.decoder.box_heads):
        nn.init.normal_(head.layers[-1].weight, std=0.1)
    peer = build_rtdetr(size_of(config), CLASSES)
    peer.config.num_denoising = 0
    keys = rtdetr_huggingface(version=2, frozen_norm=config.frozen_norm, layout="v5")
    lacking = peer.load_state_dict(keys.export(ours.state_dict()), strict=False)
    assert not lacking.unexpected_keys, lacking
    assert all("n_points_scale" in key or "num_batches" in key for key in lacking.missing_keys), lacking
    images, targets = make_batch(argparse.Namespace(size="192x256", batch_size=2, objects=5))
    with torch.inference_mode():
        mine, theirs = ours.eval()(images), peer.eval()(**peer_inputs(images))
    totals = [
        build_criterion(loss)(ours.train()(images), targets).total,
        peer.train()(**peer_inputs(images), labels=peer_labels(targets)).loss,
    ]
    norms = []
    for total, model in zip(totals, (ours, peer), strict=True):
        total.backward()
        norms.append(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
    # Fresh scores of the memory lie close together, so that rounding decides the order of the queries, and no more.
    answers = torch.cat((mine.logits[-1], mine.boxes_cxcywh[-1]), dim=-1)
    others = torch.cat((theirs.logits, theirs.pred_boxes), dim=-1)
    partner = torch.cdist(answers, others).argmin(-1)
    assert all(len(row.unique()) == len(row) for row in partner), "the queries of one are not those of the other"
    apart = (answers - others.gather(1, partner[..., None].expand_as(answers))).abs()
    found = {
        "logits": apart[..., :-4].max().item(),
        "boxes": apart[..., -4:].max().item(),
        "loss, relative": (totals[0] / totals[1] - 1).abs().item(),
        "gradient norm, relative": (norms[0] / norms[1] - 1).abs().item(),
    }
    assert max(found["logits"], found["boxes"], found["loss, relative"]) < 1e-4, found
    assert found["gradient norm, relative"] < 1e-3, found
    return found


def time_turns(words: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Times of both sides in turns, after two calls each to warm up; and parameters of each."""
    made = {side: make_step(side, words) for side in SIDES}
    times: dict[str, list[float]] = {f"{side}_{clock}": [] for side in SIDES for clock in ("wall", "processor")}
    for turn in range(words.repeats + 2):
        for side in SIDES:
            wall, processor = seconds(made[side][1], "cpu")
            if turn >= 2:
                times[f"{side}_wall"].append(wall)
                times[f"{side}_processor"].append(processor)
    return times, {side: sum(p.numel() for p in model.parameters()) for side, (model, _) in made.items()}


def memory_in_a_process(side: str) -> float:
    """Peak memory of three steps in a fresh process, in MiB."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", side]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure_memory(side: str, words: argparse.Namespace) -> float:
    before = memory_mib("VmRSS")
    _, step = make_step(side, words)
    for _ in range(3):
        step()
    return memory_mib("VmHWM") - before


def as_markdown(results: dict[str, Any]) -> str:
    """The table of the README."""
    now, peak, parameters = results["seconds"], results["memory_mib"], results["parameters"]
    words = results["words"]
    row = [f"training step, {words['size'].replace('x', ' x ')}, batch {words['batch_size']}"]
    row += [f"{parameters[side] / 1e6:.2f} M" for side in SIDES]
    row += [f"{now[side]:.3f} s" for side in SIDES] + [f"{results['times_faster']:.2f}"]
    row += [f"{peak[side]:.0f} MiB" for side in SIDES] if peak else ["-", "-"]
    row.append(f"{results['times_smaller']:.2f}" if peak else "-")
    header = [words["model"] or "RT-DETRv2, small", "Sleuth's size", "Hugging Face's", "Sleuth", "Hugging Face"]
    header += ["times faster", "Sleuth peak", "Hugging Face peak", "times smaller"]
    clock = "wall time" if words["clock"] == "wall" else "processor time of the process"
    foot = f"Medians of {words['repeats']} turns, {clock}. {sentence(results['machine'])}"
    return f"{table(header, [row])}\n\n{foot}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="a name of the catalog, or a recipe; by default a small RT-DETRv2")
    parser.add_argument("--size", default="256x320", help="height x width of the pictures")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--objects", type=int, default=13, help="in each picture")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each side, after two to warm up")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 arithmetic on both sides")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor on a busy machine")
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    parser.add_argument("--memory-of", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    if words.memory_of:
        print(measure_memory(words.memory_of, words))
        return
    machine = describe()
    equal = check_equal(words.model)
    print("equal:", equal, flush=True)
    memory = {} if words.no_memory else {side: memory_in_a_process(side) for side in SIDES}
    times, parameters = time_turns(words)
    medians = {side: statistics.median(times[f"{side}_{words.clock}"]) for side in SIDES}
    results: dict[str, Any] = {
        "machine": machine,
        "words": {name: str(value) if isinstance(value, Path) else value for name, value in vars(words).items()},
        "equal": equal,
        "parameters": parameters,
        "times": times,
        "seconds": medians,
        "times_faster": medians["peer"] / medians["sleuth"],
        "memory_mib": memory,
        "times_smaller": memory["peer"] / memory["sleuth"] if memory else None,
    }
    print(as_markdown(results))
    if words.json:
        write_json(words.json, results)
    if words.markdown:
        put_between_marks(words.markdown, "training-step", as_markdown(results))


if __name__ == "__main__":
    main()
