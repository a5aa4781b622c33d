"""DETR-R50 beside Hugging Face's, with the same weights, in the same run: time and peak memory.

    uv run --group bench python benchmarks/detr_speed.py --markdown benchmarks/README.md

Before anything is timed, both must give the same answers, the same loss and the same gradient. Then the two take
turns, A B A B, and medians are compared. Peak memory is that of a process of its own for each, above what it holds
after its imports. Dropout is on in training steps, at the same places in both.
"""

import argparse
from dataclasses import dataclass

import torch
from machine import describe, table
from peer import build_peer, freeze_alike, peer_inputs, peer_labels, share_weights, vary_weights
from torch import Tensor, nn
from turns import Step, add_options, compared, foot, medians, peak_in_a_process, peak_mib, publish, take_turns

from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.training.optimizer import OptimizerSettings, build_optimizer
from sleuth.types.batches import ImageBatch, Target

SIDES = ("sleuth", "peer")


@dataclass(frozen=True)
class Case:
    """One thing that is measured: inference, or a whole training step, on a batch of unpadded pictures."""

    name: str
    training: bool
    batch: int
    size_hw: tuple[int, int]


CASES = (
    Case("inference-1", training=False, batch=1, size_hw=(800, 1066)),
    Case("inference-4", training=False, batch=4, size_hw=(800, 1066)),
    Case("training-2", training=True, batch=2, size_hw=(512, 512)),
)


def make_batch(case: Case, device: str) -> tuple[ImageBatch, list[Target]]:
    """Random pictures with seven objects each, about as many as in COCO."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randn(case.batch, 3, *case.size_hw, generator=draw)
    images = ImageBatch(pixels=pixels, valid=torch.ones(case.batch, *case.size_hw, dtype=torch.bool))
    targets = [
        Target(
            labels=torch.randint(0, 91, (7,), generator=draw),
            boxes_cxcywh=torch.rand(7, 4, generator=draw) * 0.4 + 0.1,
        )
        for _ in range(case.batch)
    ]
    return images.to(device), [target.to(device) for target in targets]


def make_models(config: DetrConfig, device: str) -> tuple[Detr, nn.Module, nn.Module]:
    """Ours, the peer for inference, and the peer for training (losses on every layer), all with the same weights."""
    torch.manual_seed(0)
    ours = build_detr(config)
    vary_weights(ours)
    peers = [build_peer(config, supervise_all_layers=every) for every in (False, True)]
    for peer in peers:
        share_weights(ours, peer)
        freeze_alike(ours, peer)
    return ours.to(device), peers[0].to(device), peers[1].to(device)


# One call of either side


def inference(model: nn.Module, images: ImageBatch, side: str) -> Step:
    """The model's answer, without gradients."""
    inputs = peer_inputs(images)
    model.eval()

    @torch.inference_mode()
    def step() -> object:
        return model(images) if side == "sleuth" else model(**inputs)

    return step


def total_loss(model: nn.Module, images: ImageBatch, targets: list[Target], side: str) -> Tensor:
    """Forward pass, Hungarian matching and set loss of all layers."""
    if side == "peer":
        return model(**peer_inputs(images), labels=peer_labels(targets)).loss
    return build_criterion(DetectionLossConfig())(model(images), targets).total


def training(model: nn.Module, images: ImageBatch, targets: list[Target], side: str) -> Step:
    """Forward pass, loss, backward pass and the optimiser's step; both use the same fused AdamW."""
    model.train()
    optimizer = build_optimizer(model, OptimizerSettings(rate=1e-6))

    def step() -> object:
        loss = total_loss(model, images, targets, side)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def check_equal(device: str) -> dict[str, float]:
    """Largest differences of answers, loss and gradient between the two.

    Raises:
        AssertionError: they are not the same model.
    """
    ours, peer, peer_training = make_models(DetrConfig(dropout=0.0), device)
    images, targets = make_batch(Case("check", training=True, batch=2, size_hw=(256, 320)), device)
    mine, theirs = inference(ours, images, "sleuth")(), inference(peer, images, "peer")()
    losses = []
    for model, side in ((ours, "sleuth"), (peer_training, "peer")):
        losses.append(total_loss(model.eval(), images, targets, side))
        losses[-1].backward()
    norms = [
        torch.stack([p.grad.norm() for p in m.parameters() if p.grad is not None]).norm() for m in (ours, peer_training)
    ]
    found = {
        "logits": (mine.logits[-1] - theirs.logits).abs().max().item(),
        "boxes": (mine.boxes_cxcywh[-1] - theirs.pred_boxes).abs().max().item(),
        "spread of logits over queries": mine.logits[-1].std(1).mean().item(),
        "loss, relative": (losses[0] / losses[1] - 1).abs().item(),
        "gradient norm, relative": (norms[0] / norms[1] - 1).abs().item(),
    }
    assert found["logits"] < 1e-4, found
    assert found["boxes"] < 1e-4, found
    assert found["loss, relative"] < 1e-4, found
    assert found["gradient norm, relative"] < 1e-3, found
    return found


def make_step(case: Case, model: nn.Module, side: str, device: str) -> Step:
    images, targets = make_batch(case, device)
    return training(model, images, targets, side) if case.training else inference(model, images, side)


def time_case(
    case: Case, models: tuple[Detr, nn.Module, nn.Module], repeats: int, device: str
) -> dict[str, list[float]]:
    """Times of both sides, taken in turns after one call each to warm up."""
    chosen = {"sleuth": models[0], "peer": models[2] if case.training else models[1]}
    return take_turns({side: make_step(case, chosen[side], side, device) for side in SIDES}, repeats, device)


def measure_memory(case: Case, side: str, device: str) -> float:
    """MiB at the peak of two calls above what the process held after its imports."""

    def make() -> Step:
        config = DetrConfig()
        model = build_detr(config) if side == "sleuth" else build_peer(config, supervise_all_layers=case.training)
        if side == "sleuth":
            model.backbone.freeze_stem()
        else:
            freeze_alike(build_detr(config), model)
        return make_step(case, model.to(device), side, device)

    return peak_mib(make, device)


# Report


def summary(case: Case, times: dict[str, list[float]], memory: dict[str, float], clock: str) -> dict[str, object]:
    """Medians and ratios; a ratio above 1 means that ours is faster, or smaller."""
    found: dict[str, object] = {"case": case.name, "clock": clock, "size_hw": case.size_hw, "times": times}
    if times:
        middle = medians(times, SIDES, clock)
        found |= {"seconds": middle, "times_faster": middle["peer"] / middle["sleuth"]}
    if memory:
        found |= {"memory_mib": memory, "times_smaller": memory["peer"] / memory["sleuth"]}
    return found


def as_markdown(results: dict[str, object]) -> str:
    """The table of the README."""
    rows = []
    for found in results["cases"]:  # type: ignore[attr-defined]
        case = next(case for case in CASES if case.name == found["case"])
        what = "training step" if case.training else "inference"
        row = [f"{what}, {case.size_hw[0]} x {case.size_hw[1]}, batch {case.batch}"]
        row += compared(found.get("seconds"), found.get("times_faster"), " s", 2)
        row += compared(found.get("memory_mib"), found.get("times_smaller"), " MiB", 0)
        rows.append(row)
    header = ["DETR-R50", "Sleuth", "Hugging Face", "times faster", "Sleuth peak", "Hugging Face peak", "times smaller"]
    return f"{table(header, rows)}\n\n{foot(results)}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, [case.name for case in CASES], repeats=5)
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    named = {case.name: case for case in CASES}
    if words.memory_of:
        print(measure_memory(named[words.memory_of[0]], words.memory_of[1], words.device))
        return
    machine = describe(words.device)
    cases = [case for case in CASES if not words.only or case.name in words.only]
    memory: dict[str, dict[str, float]] = {case.name: {} for case in cases}
    if not words.no_memory:
        for case in cases:
            memory[case.name] = {side: peak_in_a_process(case.name, side, words) for side in SIDES}
            print(case.name, memory[case.name], flush=True)
    equal = check_equal(words.device)
    print("equal:", equal, flush=True)
    models = None if words.no_time else make_models(DetrConfig(), words.device)
    found = []
    for case in cases:
        times = {} if models is None else time_case(case, models, words.repeats, words.device)
        found.append(summary(case, times, memory[case.name], words.clock))
        print({key: value for key, value in found[-1].items() if key != "times"}, flush=True)
    results: dict[str, object] = {
        "machine": machine,
        "repeats": words.repeats,
        "clock": words.clock,
        "equal": equal,
        "cases": found,
    }
    publish(results, as_markdown(results), "detr-speed", words)


if __name__ == "__main__":
    main()
