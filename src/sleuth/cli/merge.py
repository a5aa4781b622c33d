"""`sleuth merge`."""

from pathlib import Path

from sleuth.cli.console import tell
from sleuth.errors import UserError
from sleuth.training.adapter_files import merge_adapters
from sleuth.weights.checkpoint import save_model
from sleuth.weights.resolve import SUFFIX


def run_merge(adapter: Path, model: str | None, out: Path) -> None:
    """Write the model that adapters and their base make together."""
    if out.suffix != SUFFIX:
        raise UserError("not the name of a model file", where=f"--out {out}", mend=f"name a {SUFFIX} file")
    loaded = merge_adapters(adapter, model)
    save_model(out, loaded.model, loaded.card)
    tell(f"merged: {out}")
