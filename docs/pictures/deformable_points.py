"""Draw docs/pictures/deformable-points.png: where one query looks before and after learning.

    uv run python docs/pictures/deformable_points.py

A disc of some colour lies in an empty picture of three levels. The query is told where the disc is, seen from its
reference point, and must name the colour. All that learns is one `MultiScaleDeformableAttention` and a linear read-out.
"""

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_fastest import fastest_attention

GRIDS = ((32, 32), (16, 16), (8, 8))
DIM, HEADS, POINTS, STEPS = 32, 4, 4, 1000
HEAD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def centres(height: int, width: int) -> Tensor:
    """(x, y) of each cell's centre, [height * width, 2]."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x, y), dim=-1).view(-1, 2)


def pyramid(places: Tensor, colours: Tensor, radius: float = 0.11) -> Tensor:
    """How much of each cell is disc, times its colour: [batch, tokens, 3]."""
    levels = []
    for height, width in GRIDS:
        distance = (centres(height, width) - places[:, None]).norm(dim=-1)
        levels.append(((radius - distance) * width + 0.5).clamp(0, 1))
    return torch.cat(levels, dim=1)[..., None] * colours[:, None]


class Namer(nn.Module):
    """A query that knows where to look, and reports the colour that it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.into_tokens = nn.Linear(3, DIM)
        self.into_query = nn.Sequential(nn.Linear(2, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
        self.attention = MultiScaleDeformableAttention(
            dim=DIM, num_heads=HEADS, num_levels=len(GRIDS), num_points=POINTS, core=self.watched
        )
        self.readout = nn.Linear(DIM, 3)

    def watched(self, value: Tensor, grids_hw, locations: Tensor, weights: Tensor, num_points) -> Tensor:
        """The core, and a note of where it looked."""
        self.seen = [(locations.detach(), weights.detach())]
        return fastest_attention(value, grids_hw, locations, weights, num_points)

    def forward(self, picture: Tensor, references: Tensor, places: Tensor) -> Tensor:
        """The colour, [batch, 3]."""
        query = self.into_query(places - references)[:, None]
        return self.readout(self.attention(query, references[:, None, None], self.into_tokens(picture), GRIDS))[:, 0]


def learn(namer: Namer) -> None:
    """A few seconds of training on discs anywhere."""
    optimizer = torch.optim.AdamW(namer.parameters(), lr=3e-3)
    for step in range(STEPS):
        places, references, colours = 0.1 + 0.8 * torch.rand(64, 2), 0.1 + 0.8 * torch.rand(64, 2), torch.rand(64, 3)
        loss = (namer(pyramid(places, colours), references, places) - colours).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 250 == 0 or step == STEPS - 1:
            print(f"step {step}: error {math.sqrt(loss.item()):.3f}")


def draw_row(axes, namer: Namer, title: str) -> None:
    """One panel a level: its cells, the reference, and each head's points as large as they count."""
    place, reference, colour = (
        torch.tensor([[0.68, 0.36]]),
        torch.tensor([[0.4, 0.56]]),
        torch.tensor([[0.95, 0.75, 0.1]]),
    )
    picture = pyramid(place, colour)
    with torch.no_grad():
        namer(picture, reference, place)
    ((locations, weights),) = namer.seen
    points = zip(locations[0, 0].split(POINTS, dim=1), weights[0, 0].split(POINTS, dim=1), strict=True)
    levels = picture[0].split([height * width for height, width in GRIDS])
    for panel, (height, width), level, (at, counts) in zip(axes, GRIDS, levels, points, strict=True):
        covered = level.view(height, width, 3)
        panel.imshow(0.93 - 0.93 * covered.amax(-1, keepdim=True) / 0.95 + covered, extent=(0, 1, 1, 0))
        for cell in range(width + 1):
            panel.axvline(cell / width, color="white", linewidth=0.5)
            panel.axhline(cell / height, color="white", linewidth=0.5)
        panel.plot(*reference[0], marker="+", color="black", markersize=14, markeredgewidth=2)
        for head in range(HEADS):
            panel.scatter(
                *at[head].T,
                s=20 + 700 * counts[head],
                color=HEAD_COLOURS[head],
                edgecolor="black",
                linewidth=0.6,
                zorder=3,
            )
        share = float(counts.sum() / HEADS)
        panel.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
        panel.set_title(f"{height} x {width}: {share:.0%} of the weight", fontsize=9)
    axes[0].set_ylabel(title)


def main() -> None:
    """Draw, learn, draw."""
    torch.manual_seed(0)
    namer = Namer()
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained")
    draw_row(axes[0], namer, "before learning")
    learn(namer)
    draw_row(axes[1], namer, "after learning")
    figure.savefig(Path(__file__).with_name("deformable-points.png"), dpi=100)


if __name__ == "__main__":
    main()
