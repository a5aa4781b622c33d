"""`sleuth merge` and `sleuth average`: one model file from several files."""

from collections.abc import Sequence
from pathlib import Path

from sleuth.cli.console import tell
from sleuth.errors import UserError
from sleuth.training.adapter_files import merge_adapters
from sleuth.weights.averaging import average_files, checkpoints_of
from sleuth.weights.checkpoint import save_model
from sleuth.weights.resolve import SUFFIX


def run_merge(adapter: Path, model: str | None, out: Path) -> None:
    """Write the model that adapters and their base make together."""
    _check_name(out)
    loaded = merge_adapters(adapter, model)
    save_model(out, loaded.model, loaded.card)
    tell(f"merged: {out}")


def run_average(models: Sequence[Path], out: Path, last: int) -> None:
    """Write the mean of models, or of the checkpoints that runs kept."""
    _check_name(out)
    if last < 0:
        raise UserError(f"{last} is negative", where="--last", mend="name how many, or leave it out for all")
    paths = [path for model in models for path in checkpoints_of(model)]
    average_files(paths[-last:] if last else paths, out)
    tell(f"the mean of {min(last, len(paths)) if last else len(paths)} models: {out}")


def _check_name(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise UserError("not the name of a model file", where=f"--out {out}", mend=f"name a {SUFFIX} file")
