"""The folder that a run leaves behind: everything in it is made to be read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.files import atomic_write, make_folder, user_errors_for
from sleuth.training.curves import draw_curves
from sleuth.training.tensorboard import Board

Record = dict[str, Any]


class RunFolder:
    """Paths and records of one run.

    ``recipe.toml`` as resolved, ``environment.json``, ``metrics.jsonl``, ``curves.png``, ``samples/``,
    ``tensorboard/`` if asked for, ``best.safetensors`` and ``last.safetensors`` (models), ``best-adapter/`` and
    ``last-adapter/`` where adapters were trained, ``checkpoints/`` if asked for, and ``state.safetensors`` (to resume
    from).

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.samples = self.path / "samples"
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"
        self.state = self.path / "state.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self._board: Board | None = None

    def check(self, *, resume: bool) -> None:
        """See that the folder suits a fresh or a resumed run, before any work.

        Raises:
            UserError: a fresh run would write over another; or there is nothing to resume.
        """
        if resume:
            if not self.state.is_file():
                mend = (
                    "start it without --resume" if not self.recipe.is_file() else "it was stopped too early; use --out"
                )
                raise UserError("there is no training state to resume", where=self.path, mend=mend)
        elif self.path.is_dir() and any(self.path.iterdir()):
            mend = "continue it with --resume" if self.state.is_file() else "choose another folder with --out"
            raise UserError("the folder is not empty", where=self.path, mend=mend)

    def begin(self, recipe_text: str, environment: Mapping[str, object]) -> None:
        """Create the folder and write what is known before the first step."""
        make_folder(self.path)
        self.write_text(self.recipe, recipe_text)
        self.write_text(self.environment, json.dumps(environment, indent=2) + "\n")
        self.metrics.touch()

    @property
    def started_in(self) -> Path:
        """The folder from which the relative paths of its recipe count; the present one where nobody wrote it down."""
        if not self.environment.is_file():
            return Path()
        return Path(json.loads(self.environment.read_text()).get("folder", ""))

    def continue_at(self, step: int) -> None:
        """Drop the records of steps after ``step``: they will be taken again."""
        kept = [record for record in self.records() if record.get("step", 0) <= step]
        self.write_text(self.metrics, "".join(_line(record) for record in kept))

    def open_board(self, after_step: int) -> None:
        """Write records for TensorBoard too, from now on.

        Raises:
            UserError: TensorBoard is not installed.
        """
        self._board = Board(self.tensorboard, after_step=after_step)

    def close(self) -> None:
        """Finish what is open."""
        if self._board is not None:
            self._board.close()

    def log(self, record: Mapping[str, Any]) -> None:
        """Add one record to metrics.jsonl.

        Raises:
            UserError: it cannot be written, as on a full disk.
        """
        with user_errors_for(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        if self._board is not None:
            self._board.log(record)

    def records(self) -> list[Record]:
        """All whole records of metrics.jsonl; a last line cut short by a kill is left out."""
        if not self.metrics.is_file():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def checkpoint(self, step: int) -> Path:
        """Where the weights of a step are kept."""
        return make_folder(self.checkpoints) / f"step-{step:08d}.safetensors"

    def keep_latest(self, count: int) -> None:
        """Of the checkpoints, remove all but the latest."""
        for path in sorted(self.checkpoints.glob("step-*.safetensors"))[:-count]:
            path.unlink()

    def draw(self) -> None:
        """Draw curves.png anew."""
        draw_curves(self.records(), self.curves, title=self.path.name)

    @staticmethod
    def write_text(path: Path, text: str) -> None:
        """Write a text file atomically."""
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def next_run_folder(root: Path, name: str) -> Path:
    """The first folder ``root/name-1``, ``root/name-2``, ... that does not exist yet."""
    number = 1
    while (Path(root) / f"{name}-{number}").exists():
        number += 1
    return Path(root) / f"{name}-{number}"


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record) + "\n"
