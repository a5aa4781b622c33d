"""ViT-B/16 and ViT-S/16 at 224 beside timm's and Hugging Face's, with the same weights, in the same run.

    uv run --group bench python benchmarks/vit_speed.py --markdown benchmarks/README.md

Before anything is timed, all three must give the same logits and the same gradient. Then they take turns, A B C A B C,
and medians are compared. Nothing is compiled unless ``--compile`` says so; attention is PyTorch's fused one everywhere.
"""

import argparse
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from machine import describe, table
from torch import Tensor, nn
from transformers import ViTConfig as PeerConfig
from transformers import ViTForImageClassification
from turns import Step, add_options, foot, medians, publish, take_turns

from sleuth.models.vit import VitConfig, build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.nn.packed import packed_linears
from sleuth.types.batches import ImageBatch
from sleuth.weights.maps.vit_huggingface import vit_huggingface
from sleuth.weights.maps.vit_timm import VIT_TIMM

SIDES = ("sleuth", "timm", "huggingface")
TIMM_NAMES = {"vit-b16": "vit_base_patch16_224", "vit-s16": "vit_small_patch16_224"}
CLASSES = 1000


@dataclass(frozen=True)
class Case:
    """One thing that is measured: inference, or a whole training step, on a batch of pictures of 224 x 224."""

    model: str
    training: bool
    batch: int

    @property
    def name(self) -> str:
        return f"{self.model}-{'training' if self.training else 'inference'}-{self.batch}"


CASES = tuple(Case(model, training, batch) for model in TIMM_NAMES for training in (False, True) for batch in (1, 16))


def make_models(name: str, device: str) -> dict[str, nn.Module]:
    """The same weights on all sides."""
    torch.manual_seed(0)
    config = VIT_VARIANTS[name]
    ours = build_vit(config)
    with torch.no_grad():
        for key, tensor in ours.named_parameters():
            if key.endswith("bias"):
                tensor.uniform_(-0.1, 0.1)  # fresh biases are zeros, with which a misplaced one would not show
    state = ours.state_dict()
    peer = timm.create_model(TIMM_NAMES[name], num_classes=CLASSES)
    peer.load_state_dict(VIT_TIMM.export(state))
    other = ViTForImageClassification(_huggingface_config(config))
    other.load_state_dict(vit_huggingface(kind="vit", headed=True, layout="v5").export(state))
    models = {"sleuth": ours, "timm": peer, "huggingface": other}
    return {side: model.to(device) for side, model in models.items()}


def _huggingface_config(config: VitConfig) -> PeerConfig:
    return PeerConfig(
        hidden_size=config.dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=config.feedforward_dim,
        layer_norm_eps=config.norm_eps,
        num_labels=CLASSES,
    )


def logits_of(side: str, model: nn.Module, images: ImageBatch) -> Tensor:
    """Either side's answer."""
    if side == "sleuth":
        return model(images).logits
    return model(images.pixels) if side == "timm" else model(pixel_values=images.pixels).logits


def make_batch(size: int, device: str) -> tuple[ImageBatch, Tensor]:
    """Random pictures and labels."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randn(size, 3, 224, 224, generator=draw)
    labels = torch.randint(0, CLASSES, (size,), generator=draw)
    return ImageBatch(pixels, torch.ones(size, 224, 224, dtype=torch.bool)).to(device), labels.to(device)


def _precision(words: argparse.Namespace) -> Any:
    return torch.autocast(words.device, dtype=torch.bfloat16) if words.bf16 else nullcontext()


def inference(side: str, model: nn.Module, batch: int, words: argparse.Namespace) -> Step:
    """The model's answer, without gradients."""
    images, _ = make_batch(batch, words.device)
    model.eval()
    # As `sleuth.load` does; what packing costs, once, is not timed, as loading is not.
    prepared = packed_linears(model) if side == "sleuth" and not words.compile else nullcontext()

    @torch.inference_mode()
    def step() -> Tensor:
        with prepared, _precision(words):
            return logits_of(side, model, images)

    return step


def training(side: str, model: nn.Module, batch: int, words: argparse.Namespace) -> Step:
    """Forward pass, cross-entropy, backward pass and AdamW's step, PyTorch's fused one on all sides."""
    images, labels = make_batch(batch, words.device)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> Tensor:
        with _precision(words):
            loss = F.cross_entropy(logits_of(side, model, images).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def check_equal(name: str, device: str) -> dict[str, float]:
    """Largest differences of logits and gradients from ours.

    Raises:
        AssertionError: they are not the same model.
    """
    models, (images, labels) = make_models(name, device), make_batch(2, device)
    logits, norms = {}, {}
    for side, model in models.items():
        logits[side] = logits_of(side, model.train(), images)
        F.cross_entropy(logits[side], labels).backward()
        norms[side] = torch.stack([each.grad.norm() for each in model.parameters()]).norm()
    found = {"spread of logits over pictures": logits["sleuth"].std(0).mean().item()}
    for side in SIDES[1:]:
        found[f"logits, {side}"] = (logits["sleuth"] - logits[side]).abs().max().item()
        found[f"gradient norm, relative, {side}"] = (norms["sleuth"] / norms[side] - 1).abs().item()
        assert found[f"logits, {side}"] < 1e-4, found
        assert found[f"gradient norm, relative, {side}"] < 1e-4, found
    return found


def time_case(case: Case, words: argparse.Namespace) -> dict[str, list[float]]:
    """Times of all sides, taken in turns after some calls each to warm up."""
    make = training if case.training else inference
    models = make_models(case.model, words.device)
    if words.compile:
        models = {side: torch.compile(model) for side, model in models.items()}
    steps = {side: make(side, model, case.batch, words) for side, model in models.items()}
    warm_up = 3 if words.compile or words.device == "cuda" else 2
    return take_turns(steps, words.repeats, words.device, warm_up)


def summary(case: Case, times: dict[str, list[float]], clock: str) -> dict[str, Any]:
    """Medians and ratios; a ratio above 1 means that ours is faster."""
    middle = medians(times, SIDES, clock)
    faster = {side: middle[side] / middle["sleuth"] for side in SIDES[1:]}
    return {"case": case.name, "clock": clock, "seconds": middle, "times_faster": faster, "times": times}


def as_markdown(results: dict[str, Any]) -> str:
    """The table of the README."""
    rows = []
    for found in results["cases"]:
        case = next(case for case in CASES if case.name == found["case"])
        milliseconds = [f"{1000 * found['seconds'][side]:.1f} ms" for side in SIDES]
        ratios = [f"{found['times_faster'][side]:.2f}" for side in SIDES[1:]]
        what = "training step" if case.training else "inference"
        rows.append([f"{case.model}, {what}, batch {case.batch}", *milliseconds, *ratios])
    header = ["", "Sleuth", "timm", "Hugging Face", "timm / Sleuth", "Hugging Face / Sleuth"]
    how = ("compiled" if results["compiled"] else "eager", "bfloat16" if results["bf16"] else "float32")
    return f"{table(header, rows)}\n\n{foot(results, *how)}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, [case.name for case in CASES], repeats=7, memory=False)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16 on all sides")
    parser.add_argument("--compile", action="store_true", help="torch.compile on all sides")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    machine = describe(words.device)
    cases = [case for case in CASES if not words.only or case.name in words.only]
    equal = {name: check_equal(name, words.device) for name in dict.fromkeys(case.model for case in cases)}
    print("equal:", equal, flush=True)
    found = []
    for case in cases:
        found.append(summary(case, time_case(case, words), words.clock))
        print({key: value for key, value in found[-1].items() if key != "times"}, flush=True)
    results = {
        "machine": machine,
        "repeats": words.repeats,
        "clock": words.clock,
        "compiled": words.compile,
        "bf16": words.bf16,
        "equal": equal,
        "cases": found,
    }
    publish(results, as_markdown(results), "vit-speed", words)


if __name__ == "__main__":
    main()
