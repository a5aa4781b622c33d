"""Where a model keeps something for each class or each query: found by building it for one more of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from sleuth.models.detector import DetectorConfig
from sleuth.models.families import build_detector


@dataclass(frozen=True)
class Rows:
    """The weights that have a row for each class or each query, and along which dimension.

    Rows beyond those of the classes, such as no-object's, come last.

    Args:
        classes: of class heads and, where a family learns to denoise, of embedded labels.
        queries: of learned queries; empty where queries are picked from the picture.
    """

    classes: Mapping[str, int]
    queries: Mapping[str, int]

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that hold them."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in (*self.classes, *self.queries)))


def rows_of(config: DetectorConfig) -> Rows:
    """Where models of this config keep something for each class or query.

    >>> from sleuth.models.detr import DetrConfig
    >>> rows_of(DetrConfig(backbone="resnet10"))
    Rows(classes={'class_head.weight': 0, 'class_head.bias': 0}, queries={'queries.weight': 0})
    """
    shapes = _shapes(config)
    return Rows(
        classes=_grown(shapes, _shapes(replace(config, num_classes=config.num_classes + 1))),
        queries=_grown(shapes, _shapes(replace(config, num_queries=config.num_queries + 1))),
    )


def _shapes(config: DetectorConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build_detector(config).state_dict().items()}


def _grown(before: Mapping[str, torch.Size], after: Mapping[str, torch.Size]) -> dict[str, int]:
    """The dimension of each tensor that is one longer."""
    return {
        name: next(dim for dim, (old, new) in enumerate(zip(shape, after[name], strict=True)) if new == old + 1)
        for name, shape in before.items()
        if after[name] != shape
    }
