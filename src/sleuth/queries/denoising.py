"""Contrastive denoising: training-only queries that start from noised objects, some near, some far.

A near one is to find its object again, a far one is to find nothing. They stand before the other queries in the batch,
in groups that do not see each other, and the other queries see none of them: taking them away changes no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sleuth.nn.refining import inverse_sigmoid
from sleuth.types.batches import Target
from sleuth.types.predictions import Match


@dataclass(frozen=True)
class Noise:
    """The random numbers behind noised objects; near and far ones, [batch, queries].

    Args:
        label_chance: 0 to 1; below half of ``label_noise`` the label is another.
        other_label: that other label.
        sign: -1 or 1, the direction in which each edge moves.
        part: 0 to 1, how far each edge moves within its range.
    """

    label_chance: Float[Tensor, "batch queries"]
    other_label: Int[Tensor, "batch queries"]
    sign: Float[Tensor, "batch queries 4"]
    part: Float[Tensor, "batch queries 4"]


def draw_noise(batch: int, queries: int, num_classes: int, device: torch.device) -> Noise:
    """Fresh noise from PyTorch's global generator."""
    return Noise(
        label_chance=torch.rand(batch, queries, device=device),
        other_label=torch.randint(0, num_classes, (batch, queries), device=device),
        sign=torch.randint(0, 2, (batch, queries, 4), device=device) * 2.0 - 1.0,
        part=torch.rand(batch, queries, 4, device=device),
    )


@dataclass(frozen=True)
class DenoisingQueries:
    """Queries that start from noised objects, group after group; in each group the near ones, then the far ones.

    Args:
        labels: the noised label of each; ``num_classes`` on those that fill up the batch.
        references: the noised boxes, as logits of cx, cy, w, h.
        present: False on queries that fill up the batch.
        match: the near ones, each with its object.
        groups: how many times each object is asked for.
        attend: which queries see each other: these first, then the others.
    """

    labels: Int[Tensor, "batch queries"]
    references: Float[Tensor, "batch queries 4"]
    present: Bool[Tensor, "batch queries"]
    match: Match
    groups: int
    attend: Bool[Tensor, "1 1 all all"]


class ContrastiveDenoising(nn.Module):
    """Makes denoising queries of a batch's objects.

    Args:
        num_classes: classes; one more row of the table stands for queries that fill up the batch.
        dim: embedding size.
        num_queries: about how many to make: groups are as many as fit, at least one, at most ``max_groups``.
        label_noise: chance of another label, half of which is taken.
        box_noise: how far edges move: near ones up to half a side times this, far ones up to twice as far.
        max_groups: the most groups.
        eps: of the logits of boxes.
        mirror: a box that noise turns inside out keeps the size of its sides, as in D-FINE, rather than losing them.
        rows: rows of the table of labels that stand for classes, where it has more of them than there are classes.
        blank: queries that fill up the batch start from nothing, at logits of zero, as DINO's; otherwise they start
            from the last row of the table, at a box without size, as RT-DETR's.

    Source: Zhang et al. 2023, "DINO", section 3.3; Li et al. 2022, "DN-DETR".
    """

    def __init__(
        self,
        *,
        num_classes: int,
        dim: int,
        num_queries: int = 100,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
        max_groups: int = 100,
        eps: float = 1e-5,
        mirror: bool = False,
        rows: int | None = None,
        blank: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.label_noise = label_noise
        self.box_noise = box_noise
        self.max_groups = max_groups
        self.eps = eps
        self.mirror = mirror
        self.blank = blank
        # The last row fills up the batch: it starts at zero and has no gradient.
        self.labels = nn.Embedding((rows or num_classes) + 1, dim, padding_idx=None if blank else num_classes)

    def groups_for(self, most_objects: int) -> int:
        """How many groups there are for a picture with so many objects."""
        return min(self.max_groups, max(1, self.num_queries // max(1, most_objects)))

    def forward(
        self, targets: Sequence[Target], num_others: int, device: torch.device, noise: Noise | None = None
    ) -> DenoisingQueries:
        """The queries. Where no picture has an object there is one pair that only fills up the batch.

        So every step of every process has the same losses, and a gradient for the table of labels.

        Args:
            targets: the objects of each picture.
            num_others: how many other queries follow.
            device: where to make them.
            noise: random numbers to use; by default they are drawn.
        """
        counts = [len(target.labels) for target in targets]
        most = max(counts, default=0)
        groups, most = self.groups_for(most) if most else 1, max(1, most)
        batch, total = len(targets), 2 * groups * most
        labels = torch.full((batch, most), self.num_classes, dtype=torch.int64)
        boxes = torch.zeros(batch, most, 4)
        for row, target in enumerate(targets):
            labels[row, : counts[row]] = target.labels
            boxes[row, : counts[row]] = target.boxes_cxcywh
        labels, boxes = labels.to(device).repeat(1, 2 * groups), boxes.to(device).repeat(1, 2 * groups, 1)
        present = labels < self.num_classes
        far = torch.arange(total, device=device) // most % 2 == 1
        noise = noise or draw_noise(batch, total, self.num_classes, device)
        flipped = present & (noise.label_chance < self.label_noise * 0.5)
        references = inverse_sigmoid(self._moved(boxes, far, noise), self.eps)
        return DenoisingQueries(
            labels=torch.where(flipped, noise.other_label, labels),
            references=references.masked_fill(~present[..., None], 0.0) if self.blank else references,
            present=present,
            match=_near(counts, most, groups, device),
            groups=groups,
            attend=group_mask(groups, 2 * most, num_others, device),
        )

    def content(self, queries: DenoisingQueries) -> Float[Tensor, "batch queries dim"]:
        """What the queries start with."""
        content = self.labels(queries.labels)
        return content.masked_fill(~queries.present[..., None], 0.0) if self.blank else content

    def _moved(self, boxes: Tensor, far: Tensor, noise: Noise) -> Tensor:
        """Boxes (cxcywh) whose edges have moved by up to half a side, or by half to a whole side."""
        centre, side = boxes[..., :2], boxes[..., 2:]
        edges = torch.cat((centre - side / 2, centre + side / 2), dim=-1)
        reach = torch.cat((side, side), dim=-1) * 0.5 * self.box_noise
        edges = (edges + noise.sign * (noise.part + far[:, None]) * reach).clamp(0, 1)
        sides = edges[..., 2:] - edges[..., :2]
        return torch.cat(((edges[..., :2] + edges[..., 2:]) / 2, sides.abs() if self.mirror else sides), dim=-1)


def group_mask(groups: int, size: int, others: int, device: torch.device) -> Bool[Tensor, "1 1 all all"]:
    """Each group sees itself and the others; the others see themselves alone."""
    group = torch.arange(groups, device=device).repeat_interleave(size)
    group = torch.cat((group, group.new_full((others,), -1)))
    return ((group[:, None] == group[None, :]) | ((group[None, :] == -1) & (group[:, None] != -1)))[None, None]


def _near(counts: Sequence[int], most: int, groups: int, device: torch.device) -> Match:
    """The near queries and their objects."""
    rows = [
        (row, 2 * group * most + place, place)
        for row, count in enumerate(counts)
        for group in range(groups)
        for place in range(count)
    ]
    return Match(*torch.tensor(rows, dtype=torch.int64, device=device).view(-1, 3).unbind(1))
