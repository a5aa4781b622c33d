"""The values of a trace: steps with shapes, parameters and FLOPs, as a table of text or as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

FLOPS_NOTE = (
    "FLOPs of matrix products, convolutions and attention; a multiply-add is two (papers often count it as one)."
)


@dataclass(frozen=True)
class TraceStep:
    """One tensor on its way, and the part of the model that made it.

    Args:
        name: what the tensor is.
        shape: its sizes.
        module: qualified name of the part; empty where none made it.
        about: what happens here, in a few words.
        parameters: of the part; shared ones count where they are first used.
        flops: of the part in this run.
        detail: True for a part of the step below.
    """

    name: str
    shape: tuple[int, ...]
    module: str = ""
    about: str = ""
    parameters: int = 0
    flops: int = 0
    detail: bool = False


@dataclass(frozen=True)
class Trace:
    """The steps of one run.

    Args:
        model: what was traced.
        steps: in the order of the data flow; details stand before the step that they are parts of.
        parameters: of the whole model.
        flops: of the whole run.
    """

    model: str
    steps: tuple[TraceStep, ...]
    parameters: int
    flops: int

    def __getitem__(self, name: str) -> TraceStep:
        """The step of a name.

        Raises:
            KeyError: there is none; the message lists them all.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; there are {[step.name for step in self.steps]}")

    def __str__(self) -> str:
        return self.render()

    def to_json(self) -> dict[str, Any]:
        """The trace as plain values."""
        steps = [asdict(step) | {"shape": list(step.shape)} for step in self.steps]
        return {
            "model": self.model,
            "parameters": self.parameters,
            "flops": self.flops,
            "note": FLOPS_NOTE,
            "steps": steps,
        }

    def render(self, *, note: bool = True) -> str:
        """The trace as a table of text, with a note on what is counted."""
        rows = [("step", "shape", "parameters", "GFLOPs", "what happens")]
        rows += [
            (
                f"{'  ' if step.detail else ''}{step.name}",
                shape_text(step.shape) if step.shape else "",
                f"{step.parameters:,}" if step.parameters else "",
                f"{step.flops / 1e9:.3f}" if step.flops else "",
                step.about,
            )
            for step in self.steps
        ]
        rows.append(
            ("total", "", f"{self.parameters:,}" if self.parameters else "", f"{self.flops / 1e9:.3f}", self.model)
        )
        a, b, c, d = (max(len(row[column]) for row in rows) for column in range(4))
        lines = [f"{row[0]:<{a}}  {row[1]:<{b}}  {row[2]:>{c}}  {row[3]:>{d}}  {row[4]}".rstrip() for row in rows]
        rule = "-" * max(len(line) for line in lines)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *([FLOPS_NOTE] if note else [])])


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as it is written in the field.

    >>> shape_text((1, 3, 800, 600))
    '[1,3,800,600]'
    """
    return f"[{','.join(str(size) for size in shape)}]"
