"""What a figure was measured on, and where it is written down."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

_LIBRARIES = ("torch", "torchvision", "timm", "transformers")


def describe(device: str = "cpu") -> dict[str, object]:
    """Name of the processor, cores and threads, memory, libraries, and how busy the machine is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def sentence(machine: Mapping[str, object]) -> str:
    """The machine in one line, for the foot of a table."""
    libraries = ", ".join(f"{name} {machine[name]}" for name in _LIBRARIES)
    where = "" if machine["device"] == "cpu" else f"{machine['device']}; "
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    parts = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    return f"{where}{parts}, {threads}; {libraries}; load average at the start {machine['load_before']}."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(path: Path, results: Mapping[str, object]) -> None:
    """Results as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def put_between_marks(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a file.

    Raises:
        ValueError: the file has no such marks.
    """
    page = path.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise ValueError(f"{path} has no {begin} ... {end}")
    before, after = page.split(begin, 1)[0], page.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
