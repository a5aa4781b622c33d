"""Hugging Face's DETR on the pictures, augmentation and arithmetic of a recipe of ours, for the same processor time.

    uv run --group bench python benchmarks/bccd_huggingface.py --data /path/to/bccd --minutes 40 --out runs/hf-bccd

Equal to the recipe: pictures, order, augmentation, batch size, optimiser, learning rates, schedule shape, clipping,
precision, running average of the weights, size of the backbone (a narrow ResNet-18 whose last stage keeps its
resolution) and of the transformer. Hugging Face's own: model code, matcher, loss, weights. Its backbone replaces
batch norm by frozen batch norm, which from scratch normalises nothing, and freezes its first stages; ``--live-norm``
puts trainable batch norm back and unfreezes them. Time is the processor time of the training process, so that a busy
machine favours nobody.
"""

import argparse
import json
import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from peer import peer_inputs, peer_labels
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import DetrConfig as PeerConfig
from transformers import DetrForObjectDetection, ResNetConfig

from sleuth.data.open import open_data
from sleuth.data.source import PictureSource
from sleuth.data.stream import TrainingStream
from sleuth.evaluation.detection import evaluate_model
from sleuth.models.detr import DetrConfig
from sleuth.training.recipe import Recipe, load_recipe
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction


def build_peer(config: DetrConfig, *, live_norm: bool) -> DetrForObjectDetection:
    """Hugging Face's DETR of the recipe's size, with fresh weights."""
    backbone = ResNetConfig(
        embedding_size=64,  # as in ours: the stem does not narrow
        hidden_sizes=[config.backbone_width * 2**stage for stage in range(4)],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=["stage4"],
    )
    peer = DetrForObjectDetection(
        PeerConfig(
            backbone_config=backbone,
            num_labels=config.num_classes,
            num_queries=config.num_queries,
            d_model=config.dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.num_heads,
            decoder_attention_heads=config.num_heads,
            encoder_ffn_dim=config.feedforward_dim,
            decoder_ffn_dim=config.feedforward_dim,
            dropout=config.dropout,
            auxiliary_loss=True,
        )
    )
    body = peer.model.backbone
    _keep_resolution(body)
    if live_norm:
        _thaw(body)
    return peer


def _keep_resolution(backbone: nn.Module) -> None:
    """Stride 16 instead of 32, as our recipe has it: the last stage dilates instead of striding."""
    for name, module in backbone.named_modules():
        if ".stages.3." not in name or not isinstance(module, nn.Conv2d):
            continue
        first_block = ".layers.0." in name
        module.stride = (1, 1)
        if module.kernel_size == (3, 3) and not first_block:
            module.dilation = module.padding = (2, 2)


def _thaw(module: nn.Module) -> None:
    """Trainable batch norm in place of frozen batch norm, and every parameter trained."""
    for name, child in module.named_children():
        if type(child).__name__ == "DetrFrozenBatchNorm2d":
            setattr(module, name, nn.BatchNorm2d(len(child.weight)))
        else:
            _thaw(child)
    module.requires_grad_(True)


class AsOurs(nn.Module):
    """The peer behind our interface, so that one evaluation measures both."""

    def __init__(self, peer: nn.Module) -> None:
        super().__init__()
        self.peer = peer

    def forward(self, images: ImageBatch) -> SetPrediction:
        out = self.peer(**peer_inputs(images))
        tokens = out.encoder_last_hidden_state
        memory = Memory(tokens=tokens, pos=tokens, valid=None, grids_hw=((1, tokens.shape[1]),))
        return SetPrediction(logits=out.logits[None], boxes_cxcywh=out.pred_boxes[None], memory=memory)


def scores(model: nn.Module, data: Path, split: str, recipe: Recipe) -> dict[str, float]:
    source = PictureSource(open_data(data, split=split))
    return dict(evaluate_model(AsOurs(model), source, recipe.preprocess, batch_size=8).scores.measured)


def batches(recipe: Recipe, source: PictureSource) -> "object":
    stream = TrainingStream(
        source,
        recipe.augmentation,
        batch_size=recipe.optimizer.batch_size,
        seed=recipe.run.seed,
        workers=1,
        mean=recipe.preprocess.mean,
        std=recipe.preprocess.std,
    )
    epoch = 0
    while True:
        yield from stream.epoch(epoch)
        epoch += 1


def rate_share(done: float, step: int, warmup: int) -> float:
    warm = min(1.0, (step + 1) / max(1, warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the BCCD folder")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/detr-bccd.toml"))
    parser.add_argument("--minutes", type=float, default=40.0, help="processor time of the training process")
    parser.add_argument("--out", type=Path, default=Path("runs/hf-bccd"))
    parser.add_argument("--live-norm", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="override a value of the recipe: section.key=value")
    parser.add_argument("--evaluations", type=int, default=8)
    words = parser.parse_args()

    torch.set_num_threads(1)
    recipe = load_recipe(words.recipe, [f"data.path={words.data}", *words.set])
    torch.manual_seed(recipe.run.seed)
    source = PictureSource(open_data(words.data, split="train"))
    config = replace(recipe.model.config, num_classes=len(source.names))
    model = build_peer(config, live_norm=words.live_norm).to(memory_format=torch.channels_last)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    backbone: list[Tensor] = [p for name, p in trained if "backbone" in name]
    rest: list[Tensor] = [p for name, p in trained if "backbone" not in name]
    optimizer_words = recipe.optimizer
    groups = [{"params": rest, "full": optimizer_words.rate}]
    if backbone:
        groups.append({"params": backbone, "full": optimizer_words.backbone_rate or optimizer_words.rate})
    optimizer = torch.optim.AdamW(groups, lr=optimizer_words.rate, weight_decay=optimizer_words.weight_decay)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.run.ema_decay), use_buffers=True)
    mixed = recipe.run.precision == "bf16-mixed"

    words.out.mkdir(parents=True, exist_ok=True)
    curve: list[dict[str, float]] = []
    budget, spent, step, due = words.minutes * 60, 0.0, 0, 1
    stream = iter(batches(recipe, source))
    model.train()
    mark = time.process_time()
    while spent < budget:
        images, targets = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * rate_share(spent / budget, step, recipe.schedule.warmup_steps)
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            out = model(**peer_inputs(images), labels=peer_labels(targets))
        optimizer.zero_grad()
        out.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), optimizer_words.clip)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        spent += time.process_time() - mark
        if step % 50 == 0:
            print(f"step {step}  {spent / 60:.1f} of {words.minutes:g} min  loss {out.loss.item():.3f}", flush=True)
        if spent >= due * budget / words.evaluations or spent >= budget:
            due += 1
            curve.append({"step": step, "minutes": spent / 60, **scores(average.module, words.data, "val", recipe)})
            print(f"val AP {curve[-1]['AP']:.4f} AP50 {curve[-1]['AP50']:.4f}", flush=True)
            (words.out / "curve.json").write_text(json.dumps(curve, indent=2))
            model.train()
        mark = time.process_time()
    result = {
        "live_norm": words.live_norm,
        "overrides": words.set,
        "minutes": words.minutes,
        "steps": step,
        "parameters": sum(p.numel() for p in model.parameters()),
        "val": curve[-1],
        "test": scores(average.module, words.data, "test", recipe),
    }
    (words.out / "result.json").write_text(json.dumps(result, indent=2))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
