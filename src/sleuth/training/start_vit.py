"""Starting the backbone of a detector from a vision Transformer that was trained for something else."""

from pathlib import Path

from torch import Tensor

from sleuth.backbones.vit import VitBackbone
from sleuth.errors import UserError
from sleuth.models.vit import VitConfig
from sleuth.nn.grid_positions import LearnedGridPositions
from sleuth.nn.positions import resize_positions_2d
from sleuth.weights.architectures import task_of_file
from sleuth.weights.resolve import RUN_WEIGHTS

_TABLE = "positions.table"
_NORM = ("norm.weight", "norm.bias")
_FREE = (
    *("num_classes", "pool", "norm_after_pool", "pooler"),  # of the head
    *("image_hw", "resizing", "norm_eps"),  # the learned grid is resized; eps is far below what training moves
    *("dropout", "attention_dropout", "drop_path"),  # of training
)
"""Numbers in which the two may differ."""


def is_detector_file(name: str) -> bool:
    """Whether a name means a detector that `sleuth train` wrote, or a run folder that holds one."""
    path = Path(name)
    return task_of_file(path / RUN_WEIGHTS if path.is_dir() else path) == "detection"


def take_vit(backbone: VitBackbone, known: VitConfig, start: VitBackbone, config: VitConfig, *, where: object) -> None:
    """Copy the weights of a vision Transformer's blocks, patches, tokens and positions; its head stays behind.

    Positions that were learned on another grid are resized to the backbone's. A classifier that normalises after
    pooling has no norm for its patches: that of the backbone stays fresh.

    Args:
        backbone: what takes them.
        known: its numbers.
        start: what has them.
        config: its numbers.
        where: its name, for messages.

    Raises:
        UserError: the other is built of other parts or sizes.
    """
    for name in vars(known):
        if name not in _FREE and getattr(known, name) != getattr(config, name):
            what = f"a backbone of another make: {name} is {getattr(config, name)} there, {getattr(known, name)} here"
            raise UserError(what, where=where, mend="name a vision Transformer as model.backbone says")
    taken: dict[str, Tensor] = dict(start.state_dict())
    wanted = backbone.state_dict()
    here, there = backbone.positions, start.positions
    if isinstance(here, LearnedGridPositions) and isinstance(there, LearnedGridPositions):
        table = resize_positions_2d(taken[_TABLE][0], there.grid_hw, here.grid_hw, prefix=there.prefix, antialias=True)
        taken[_TABLE] = table[None]
    if config.norm_after_pool:
        taken |= {name: wanted[name] for name in _NORM}
    backbone.load_state_dict(taken)
