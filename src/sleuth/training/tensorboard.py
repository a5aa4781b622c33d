"""The same curves for TensorBoard, for those who have it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError


class Board:
    """Writes the numbers of metrics.jsonl as TensorBoard scalars.

    Args:
        folder: where its event files go.
        after_step: hide what an earlier start of the run wrote for later steps.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, after_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "TensorBoard is not installed",
                where="run.tensorboard",
                mend="install it with `uv sync --extra tensorboard`, or leave run.tensorboard out",
            ) from None
        self._writer = SummaryWriter(str(folder), purge_step=after_step + 1 if after_step else None)

    def log(self, record: Mapping[str, Any]) -> None:
        """Write every number of a record, those of its tables under ``table/name``."""
        step = record["step"]
        for name, value in record.items():
            for path, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                if isinstance(number, int | float) and name != "step":
                    self._writer.add_scalar(f"{name}/{path}" if path else name, number, step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()
