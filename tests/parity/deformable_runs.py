"""One forward pass of a golden model, with what its parts saw and said on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from golden_fixture import Fixture
from torch import Tensor, nn

from sleuth.models.deformable_detr import DeformableDetr
from sleuth.tasks.detection import RawDetections, decode_detections
from sleuth.tasks.detection_loss import LossReport
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.keymap import STACKED, KeyMap

PARTS = ("encoder.layers.0", "encoder.layers.0.self_attention", "decoder", "decoder.layers.0")
PARTS += ("decoder.layers.0.cross_attention", "decoder.position", "queries.source")


@dataclass
class Run:
    """A golden model that has run on the fixture's pictures.

    Args:
        fixture: where all is from.
        model: with the original's weights, in training mode without dropout, so that everything is supervised.
        keys: between the original's keys and ours.
        prediction: what it found.
        seen: by the name of a part, arguments and result of its first call.
    """

    fixture: Fixture
    model: DeformableDetr
    keys: KeyMap
    prediction: SetPrediction
    seen: dict[str, tuple[tuple[Any, ...], Any]]

    def targets(self, name: str) -> list[Target]:
        return targets(self.fixture, name)

    def check_matches(self, name: str, report: LossReport, proposals: str | None) -> None:
        """The assignments of all layers, and of the proposals."""
        layers = [f"layer{layer}" for layer in range(6)] + ([] if proposals is None else [proposals])
        for layer, match in zip(layers, report.matches, strict=False):
            rows = torch.stack((match.picture, match.query, match.target), dim=1)
            self.fixture.check(f"{name}/match_{layer}", rows)

    def check_gradients(self, name: str, total: Tensor, zero: Sequence[str] = ()) -> None:
        """The norms of the gradients that the fixture lists."""
        named = dict(self.model.named_parameters())
        ours: dict[str, list[str]] = {}
        for key in self.fixture.spec["values"][name]["grad_norm"]:
            rule, places = self.keys.rule_for(key)
            parts = STACKED["qkv"] if rule.op == "split_qkv" else ("",)
            ours[key] = [rule.target.format(qkv=part, **places) for part in parts]
        wanted = [name for names in ours.values() for name in names]
        found = dict(
            zip(wanted, torch.autograd.grad(total, [named[key] for key in wanted], retain_graph=True), strict=True)
        )
        for key, names in ours.items():
            norm = torch.cat([found[name] for name in names]).double().norm().item()
            if key in zero:
                assert norm == 0
            else:
                self.fixture.check_value(f"{name}/grad_norm/{key}", norm)

    def check_losses(self, name: str, report: LossReport, suffixes: dict[str, str]) -> None:
        """The losses of all stages, unweighted, and their weighted total; suffixes are theirs and ours."""
        for theirs, ours in {"loss_ce": "class", "loss_bbox": "l1", "loss_giou": "giou"}.items():
            for suffix, our_suffix in suffixes.items():
                value = report.parts[ours + our_suffix].item()
                self.fixture.check_value(f"{name}/loss_dict/{theirs}{suffix}", value)
        self.fixture.check_value(f"{name}/weighted_total", report.total.item())

    def check_layers(self) -> None:
        """Logits and boxes of every decoder layer."""
        fixture, logits, boxes = self.fixture, self.prediction.logits, self.prediction.boxes_cxcywh
        for layer in range(5):
            fixture.check(f"aux{layer}/pred_boxes", boxes[layer])
            if f"out/aux{layer}/pred_logits_first50" in fixture.tensors:
                fixture.check(f"aux{layer}/pred_logits_first50", logits[layer][:, :50])
        fixture.check("pred_logits", logits[-1])
        fixture.check("pred_boxes", boxes[-1])

    def decoded(self) -> list[RawDetections]:
        sizes = [(int(h), int(w)) for h, w in self.fixture.tensors["in/orig_sizes"].tolist()]
        return decode_detections(self.prediction, sizes)

    def check_decoded(self) -> None:
        """The hundred best answers of each picture."""
        for picture, found in enumerate(self.decoded()):
            self.fixture.check(f"postprocess/{picture}/scores", found.scores[:100])
            self.fixture.check(f"postprocess/{picture}/labels", found.labels[:100])
            self.fixture.check(f"postprocess/{picture}/boxes", found.boxes_xyxy_px[:100])


def targets(fixture: Fixture, name: str) -> list[Target]:
    tensors = fixture.tensors
    return [
        Target(labels=tensors[f"in/{name}/{i}/labels"], boxes_cxcywh=tensors[f"in/{name}/{i}/boxes"]) for i in range(2)
    ]


def run(
    fixture: Fixture, build: Callable[[], DeformableDetr], keys: KeyMap, given: Sequence[Target] | None = None
) -> Run:
    """Load the original's weights and run once."""
    model = build()
    model.load_state_dict(keys.load(fixture.weights, {key: value.shape for key, value in model.state_dict().items()}))
    seen: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, arguments, result: seen.setdefault(name, (arguments, result)) and None

    hooks = [part.register_forward_hook(watch(name)) for name, part in model.named_modules() if name in PARTS]
    images = ImageBatch(pixels=fixture.images(), valid=~fixture.tensors["in/mask"])
    prediction = model.train()(images, given)
    for hook in hooks:
        hook.remove()
    return Run(fixture, model, keys, prediction, seen)
