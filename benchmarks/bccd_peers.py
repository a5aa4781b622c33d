"""A peer trained from scratch on blood cells (BCCD) for so many minutes, and measured once on the test split.

    uv run --group bench python benchmarks/bccd_peers.py --data /path/to/bccd --peer rtdetrv2 --minutes 30 \
        --size 256x320 --threads 2 --seed 0 --out runs/peers/rtdetrv2.json

Peers: Hugging Face's RT-DETRv2 (`peer_rtdetr.py`: 1.9 million parameters, set right where its training is not the
paper's; ``--as-shipped`` leaves it), Hugging Face's DETR of the size of `recipes/detr-bccd.toml`, and torchvision's
Faster R-CNN with a feature pyramid on a ResNet-18, or on a MobileNet v3 with ``--backbone mobilenet``. Nothing is
downloaded. All learn from the 292 pictures of train and val: mirrored both ways, cropped, resized to one size,
their colours changed; with AdamW, a warm-up and a cosine down to 0.02 over the given time, a running average of the
weights, which is what is measured, and one more process that prepares pictures. Time is that of training alone: wall
time, or with ``--clock processor`` the processor time of the training process, so that a busy machine favours nobody.
The test split is seen once, at the end, by our COCO evaluation.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from bccd_huggingface import build_peer as build_detr_peer
from machine import describe, write_json
from peer import peer_inputs, peer_labels
from peer_rtdetr import RtDetrSize, build_rtdetr, drops_denoising
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision import tv_tensors
from torchvision.models.detection import FasterRCNN, fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.transforms import v2

from sleuth.cli.sizes import parse_size
from sleuth.data.open import open_data
from sleuth.data.samples import Sample
from sleuth.data.source import PictureSource
from sleuth.data.stream import Batch, TrainingStream
from sleuth.evaluation.columns import Predictions, concatenate
from sleuth.evaluation.detection import DetectionEvaluation, measure
from sleuth.evaluation.pictures import batches
from sleuth.evaluation.truth import to_xywh, truth_of_data
from sleuth.geometry.boxes import cxcywh_to_xyxy
from sleuth.tasks.preprocess import Preprocess
from sleuth.training.recipe import load_recipe
from sleuth.types.batches import ImageBatch, Target

Found = tuple[Tensor, Tensor, Tensor]
"""Of one picture: boxes from 0 to 1 as corners, scores and labels."""

DETR_RECIPE = Path(__file__).parents[1] / "recipes" / "detr-bccd.toml"
MOST = 100


@dataclass(frozen=True)
class Peer:
    """A detector of another library.

    Args:
        model: with fresh weights, every parameter trained.
        loss: of the model in training mode, for a batch.
        find: what a model of this kind finds in a batch.
        rate: learning rate of all but the backbone, whose rate is ``backbone_rate``.
        backbone_rate: learning rate of the backbone.
        clip: greatest norm of the gradient.
        notes: what was changed, for the results.
        slow_norms: whether the statistics of batch norms lag behind in a short training, and are taken anew at its end.
    """

    model: nn.Module
    loss: Callable[[nn.Module, ImageBatch, list[Target]], Tensor]
    find: Callable[[nn.Module, ImageBatch], list[Found]]
    rate: float
    backbone_rate: float
    clip: float
    notes: dict[str, Any]
    slow_norms: bool = False


# The peers


def rtdetr_peer(num_classes: int, words: argparse.Namespace) -> Peer:
    model = build_rtdetr(RtDetrSize(), num_classes, as_shipped=words.as_shipped)
    notes = {"as_shipped": words.as_shipped, "transformers_drops_denoising_queries": drops_denoising()}
    return Peer(model, _huggingface_loss, _find_by_sigmoid, 5e-4, 1e-3, 0.1, notes)


def detr_peer(num_classes: int, words: argparse.Namespace) -> Peer:
    config = replace(load_recipe(DETR_RECIPE).model.config, num_classes=num_classes)
    return Peer(build_detr_peer(config, live_norm=True), _huggingface_loss, _find_by_softmax, 5e-4, 1e-3, 1.0, {})


def faster_rcnn_peer(num_classes: int, words: argparse.Namespace) -> Peer:
    """Torchvision's, with anchors in proportion to the smaller pictures; batch norms learn."""
    size_hw = parse_size(words.size)
    as_it_comes = {"min_size": min(size_hw), "max_size": max(size_hw), "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    shared = as_it_comes | {
        "box_detections_per_img": MOST,
        "box_batch_size_per_image": words.rois,
    }
    if words.backbone == "mobilenet":
        model = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=num_classes + 1,
            trainable_backbone_layers=6,
            **shared,
        )
    else:
        body = resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        sizes = tuple((size,) for size in (16, 32, 64, 128, 256))
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        model = FasterRCNN(body, num_classes + 1, rpn_anchor_generator=anchors, **shared)
    return Peer(
        model,
        _torchvision_loss,
        _find_by_torchvision,
        5e-4,
        5e-4,
        10.0,
        {"backbone": words.backbone, "rois": words.rois},
        slow_norms=True,
    )


PEERS = {"rtdetrv2": rtdetr_peer, "detr": detr_peer, "fasterrcnn": faster_rcnn_peer}


def _huggingface_loss(model: nn.Module, images: ImageBatch, targets: list[Target]) -> Tensor:
    loss: Tensor = model(**peer_inputs(images), labels=peer_labels(targets)).loss
    return loss


def _find_by_sigmoid(model: nn.Module, images: ImageBatch) -> list[Found]:
    """The best pairs of query and class, as RT-DETR's own post-processing has it."""
    out = model(**peer_inputs(images))
    probabilities = out.logits.float().sigmoid()
    classes = probabilities.shape[-1]
    scores, pairs = probabilities.flatten(1).topk(min(MOST, probabilities[0].numel()))
    boxes = cxcywh_to_xyxy(out.pred_boxes.float())
    return [(boxes[row][pairs[row] // classes], scores[row], pairs[row] % classes) for row in range(len(probabilities))]


def _find_by_softmax(model: nn.Module, images: ImageBatch) -> list[Found]:
    """The best class of each query, as DETR's own post-processing has it."""
    out = model(**peer_inputs(images))
    scores, labels = out.logits.float().softmax(-1)[..., :-1].max(-1)
    return list(zip(cxcywh_to_xyxy(out.pred_boxes.float()), scores, labels, strict=True))


def _torchvision_loss(model: nn.Module, images: ImageBatch, targets: list[Target]) -> Tensor:
    """All four losses; class 0 is background there."""
    scale = _scale(images)
    labels = [{"boxes": cxcywh_to_xyxy(target.boxes_cxcywh) * scale, "labels": target.labels + 1} for target in targets]
    losses: dict[str, Tensor] = model(list(images.pixels), labels)
    return torch.stack(list(losses.values())).sum()


def _find_by_torchvision(model: nn.Module, images: ImageBatch) -> list[Found]:
    scale = _scale(images)
    return [(each["boxes"] / scale, each["scores"], each["labels"] - 1) for each in model(list(images.pixels))]


def _scale(images: ImageBatch) -> Tensor:
    height, width = images.pixels.shape[2:]
    return torch.tensor([width, height, width, height], dtype=torch.float32)


# Data


@dataclass(frozen=True)
class Augment:
    """Mirrored both ways, a random part of the picture half of the time, one size, changed colours."""

    size_hw: tuple[int, int]

    def __call__(self, sample: Sample) -> Sample:
        """An augmented copy."""
        size = list(self.size_hw)
        crop = v2.RandomResizedCrop(size, scale=(0.3, 1.0), ratio=(1.0, 1.6), antialias=True)
        change = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomApply([crop], p=0.5),
                v2.Resize(size, antialias=True),
                v2.SanitizeBoundingBoxes(min_size=2.0),
                v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )
        boxes = tv_tensors.BoundingBoxes(
            sample.boxes_xyxy_px, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=sample.image.shape[1:]
        )
        out = change({"image": tv_tensors.Image(sample.image), "boxes": boxes, "labels": sample.labels})
        image, moved = out["image"].as_subclass(Tensor), out["boxes"].as_subclass(Tensor)
        return replace(sample, image=image, boxes_xyxy_px=moved, labels=out["labels"])


def training_pictures(data: Path) -> PictureSource:
    """The pictures of train and val, which BCCD lists as one split too."""
    return PictureSource(open_data(data, split="trainval"))


def endless(stream: TrainingStream) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from stream.epoch(epoch)
        epoch += 1


@torch.inference_mode()
def evaluate(peer: Peer, model: nn.Module, source: PictureSource, size_hw: tuple[int, int]) -> DetectionEvaluation:
    """The COCO numbers of a model's best hundred answers a picture."""
    model.eval()
    parts = []
    for pictures, images in batches(source, Preprocess(resize="exact", size_hw=size_hw), 8):
        for picture, (boxes, scores, labels) in zip(pictures, peer.find(model, images), strict=True):
            height, width = picture.size_hw
            corners = boxes.double().numpy() * np.array([width, height, width, height])
            parts.append(
                Predictions(
                    pictures=np.full(len(scores), picture.index),
                    labels=labels.numpy(),
                    boxes_xywh_px=to_xywh(corners),
                    scores=scores.double().numpy(),
                )
            )
    return measure(truth_of_data(source.data), concatenate(parts), max_detections=MOST)


# Training


def build_optimizer(peer: Peer, rate: float | None, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; norms and biases do not decay."""
    factor = 1.0 if rate is None else rate / peer.rate
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in peer.model.named_parameters():
        full = factor * (peer.backbone_rate if "backbone" in name else peer.rate)
        groups.setdefault((full, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": each, "lr": full, "full": full, "weight_decay": decay} for (full, decay), each in groups.items()],
        fused=True,
    )


def rate_share(done: float, step: int, warmup: int) -> float:
    warm = min(1.0, (step + 1) / max(1, warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def running_average(model: nn.Module, decay: float) -> AveragedModel:
    """The average of the weights; it looks back less far at first, and takes over the statistics of norms."""

    def mix(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return now.clone()
        return average.lerp(now, 1 - decay * (1 - math.exp(-float(steps) / 200)))

    return AveragedModel(model, avg_fn=mix, use_buffers=True)


@torch.no_grad()
def renew_statistics(peer: Peer, model: nn.Module, stream: Iterator[Batch], batches: int = 30) -> None:
    """Take the means and variances of batch norms anew, with the weights as they are now.

    Torchvision's MobileNet renews them by a hundredth a step, which is too slow for a few hundred steps. As
    `torch.optim.swa_utils.update_bn` does it, but for models whose training mode wants targets.
    """
    norms = {each: each.momentum for each in model.modules() if isinstance(each, nn.BatchNorm2d)}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    model.train()
    for _ in range(batches):
        peer.loss(model, *next(stream))
    for norm, momentum in norms.items():
        norm.momentum = momentum


def train(peer: Peer, stream: Iterator[Batch], words: argparse.Namespace) -> tuple[nn.Module, dict[str, float]]:
    """Train for the given time; the averaged model, and how much was done."""
    clock = time.perf_counter if words.clock == "wall" else time.process_time
    model = peer.model
    optimizer = build_optimizer(peer, words.rate, words.weight_decay)
    average = running_average(model, words.ema_decay)
    budget, step, told = words.minutes * 60, 0, 0.0
    model.train()
    next(stream)  # The process that prepares pictures has started before the clock does.
    start, starts = clock(), {"wall": time.perf_counter(), "processor": time.process_time()}
    while (spent := clock() - start) < budget:
        images, targets = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * rate_share(spent / budget, step, words.warmup_steps)
        with torch.autocast("cpu", torch.bfloat16) if words.bf16 else nullcontext():
            loss = peer.loss(model, images, targets)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), peer.clip)
        if norm.isfinite():
            optimizer.step()
            average.update_parameters(model)
        step += 1
        if spent - told >= words.tell_every:
            told = spent
            print(f"{spent / 60:5.1f} of {words.minutes:g} min  step {step}  loss {loss.item():.3f}", flush=True)
    counted = {
        "steps": step,
        "pictures": step * words.batch_size,
        "wall_minutes": (time.perf_counter() - starts["wall"]) / 60,
        "processor_minutes": (time.process_time() - starts["processor"]) / 60,
        "last_loss": loss.item(),
    }
    if peer.slow_norms:
        renew_statistics(peer, average.module, stream)
    return average.module, counted


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the BCCD folder")
    parser.add_argument("--peer", choices=tuple(PEERS), required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", default="256x320", help="height x width of the model's input")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor on a busy machine")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, help="learning rate; the backbone's follows in proportion")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--warmup-steps", type=int, default=100)
    parser.add_argument("--ema-decay", type=float, default=0.998)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 arithmetic")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare pictures")
    parser.add_argument("--backbone", choices=("resnet18", "mobilenet"), default="resnet18", help="of Faster R-CNN")
    parser.add_argument("--rois", type=int, default=512, help="regions a picture that Faster R-CNN's heads learn from")
    parser.add_argument("--as-shipped", action="store_true", help="RT-DETRv2 with Hugging Face's own start and loss")
    parser.add_argument("--tell-every", type=float, default=20.0, help="seconds between lines")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    torch.manual_seed(words.seed)
    machine = describe()
    size_hw = parse_size(words.size)
    source, test = training_pictures(words.data), PictureSource(open_data(words.data, split="test"))
    peer = PEERS[words.peer](len(source.names), words)
    peer.model.requires_grad_(True).to(memory_format=torch.channels_last)
    stream = TrainingStream(
        source, Augment(size_hw), batch_size=words.batch_size, seed=words.seed, workers=words.workers
    )
    model, done = train(peer, endless(stream), words)
    found = evaluate(peer, model, test, size_hw)
    results = {
        "peer": words.peer,
        "parameters": sum(parameter.numel() for parameter in peer.model.parameters()),
        "training_pictures": len(source),
        "test_pictures": len(test),
        **done,
        "test": found.numbers,
        "test_objects_per_size": found.truth.objects_per_size(),
        "notes": peer.notes,
        "words": {name: str(value) if isinstance(value, Path) else value for name, value in vars(words).items()},
        "machine": machine | {"torchvision": torchvision.__version__},
    }
    write_json(words.out, results)
    print({key: results[key] for key in ("peer", "parameters", "steps", "wall_minutes", "processor_minutes")})
    print("test " + ", ".join(f"{name} {value:.4f}" for name, value in found.numbers.items()))


if __name__ == "__main__":
    main()
