"""Time and memory of deformable attention: Triton's kernels beside grid sampling, gathers and the reference operator.

    PYTHONPATH=src python benchmarks/deformable_attention.py --device cuda --json deformable.json

Every form gets the same inputs, and must give plain PyTorch's answers and gradients before it is timed. In bfloat16 the
values are in half precision, and locations and weights in float32, under autocast, as models hand them over.

The reference operator is compared where it can be had: reference_operator.py says how.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from reference_operator import reference_core
from torch import Tensor

from sleuth.nn.deformable import gathered_attention, sampled_attention
from sleuth.nn.deformable_bag import bagged_attention
from sleuth.nn.deformable_triton import triton_attention, triton_available

TOO_LATE = "not measured in the time"
Grids = tuple[tuple[int, int], ...]
Core = Callable[[Tensor, Grids, Tensor, Tensor, tuple[int, ...]], Tensor]
COCO: Grids = ((100, 134), (50, 67), (25, 34), (13, 17))  # of 800 x 1066
SMALL: Grids = ((32, 40), (16, 20), (8, 10))  # of 256 x 320


@dataclass(frozen=True)
class Case:
    """One size of a real model; queries of None are the tokens themselves, as in an encoder."""

    name: str
    grids_hw: Grids
    batch: int
    queries: int | None
    head_dim: int = 32
    heads: int = 8
    points: int = 4


ON_GPU = (
    Case("RT-DETR decoder, 640 x 640", ((80, 80), (40, 40), (20, 20)), 8, 300),
    Case("Deformable DETR encoder, 800 x 1066", COCO, 2, None),
    Case("DINO decoder, 800 x 1066", COCO, 2, 1100),
    Case("small decoder, 256 x 320", SMALL, 16, 100, head_dim=16),
)
ON_CPU = (
    Case("RT-DETR decoder, 640 x 640", ((80, 80), (40, 40), (20, 20)), 1, 300),
    Case("small encoder, 256 x 320", SMALL, 2, None, head_dim=16),
    Case("small decoder, 256 x 320", SMALL, 16, 100, head_dim=16),
)


@dataclass(frozen=True)
class Inputs:
    """What a core is given, and the gradient of its answer."""

    leaves: tuple[Tensor, Tensor, Tensor]
    grids_hw: Grids
    num_points: tuple[int, ...]
    wanted: Tensor

    def answer(self, core: Core) -> Tensor:
        value, locations, weights = self.leaves
        return core(value, self.grids_hw, locations, weights, self.num_points)

    def step(self, core: Core) -> tuple[Tensor, ...]:
        """Forwards and backwards."""
        answer = self.answer(core)
        return (answer.detach(), *torch.autograd.grad(answer, self.leaves, self.wanted.to(answer.dtype)))


def draw(case: Case, dtype: torch.dtype, device: str) -> Inputs:
    """Points around a place of each query, as a trained model's; a few lie outside of the picture."""
    torch.manual_seed(0)
    tokens = sum(height * width for height, width in case.grids_hw)
    queries, levels = case.queries or tokens, len(case.grids_hw)
    value = torch.randn(case.batch, tokens, case.heads, case.head_dim, device=device)
    if case.queries:
        at = torch.rand(case.batch, queries, 1, 1, 1, 2, device=device)
    else:
        at = _centres(case.grids_hw).to(device).view(1, tokens, 1, 1, 1, 2)
    size = torch.tensor([[width, height] for height, width in case.grids_hw], device=device)[:, None]
    shape = (case.batch, queries, case.heads, levels, case.points)
    position = at * size - 0.5 + 3 * torch.randn(*shape, 2, device=device)
    # Not on a pixel, where the answer has a kink and rounding decides which slope is its gradient.
    position = position.floor() + (position - position.floor()).clamp(1e-3, 1 - 1e-3)
    locations = ((position + 0.5) / size).flatten(3, 4)
    weights = torch.randn(shape, device=device).flatten(3).softmax(-1)
    wanted = torch.randn(case.batch, queries, case.heads * case.head_dim, device=device)
    leaves = (value.to(dtype).requires_grad_(), locations.requires_grad_(), weights.requires_grad_())
    return Inputs(leaves, case.grids_hw, (case.points,) * levels, wanted)


def _centres(grids_hw: Grids) -> Tensor:
    """Where each token lies in the picture."""
    levels = []
    for height, width in grids_hw:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        levels.append(torch.stack((x, y), dim=-1).view(-1, 2))
    return torch.cat(levels)


def forms(device: str, reference: Core | None) -> dict[str, Core]:
    """The cores to compare, the plain one first and what takes long to compile last."""
    found: dict[str, Core] = {"grid sampling": sampled_attention}
    if device == "cpu":
        found["bags"] = bagged_attention
    elif triton_available():
        found["Triton kernels"] = triton_attention
    if reference:
        found["reference operator"] = reference
    found["gathers"] = gathered_attention
    if device == "cuda":
        found["grid sampling, compiled"] = sampled_attention
    return found


def timed(run: Callable[[], object], device: str, repeats: int) -> float:
    """Median milliseconds of a call, after two to warm up; on a processor its own time, so that others do not count."""
    for _ in range(2):
        run()
    if device == "cpu":
        times = []
        for _ in range(repeats):
            start = time.process_time()
            run()
            times.append(1000 * (time.process_time() - start))
        return statistics.median(times)
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    torch.cuda.synchronize()
    for start, end in marks:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in marks)


def replayed(run: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of a call recorded as a CUDA graph: the GPU's own time, without Python's."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return timed(graph.replay, "cuda", repeats)


def peak_mib(run: Callable[[], object], device: str) -> float | None:
    """Of the GPU's memory above what the inputs hold."""
    if device == "cpu":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(
    inputs: Inputs, core: Core, plain: tuple[Tensor, ...], device: str, repeats: int, replay: bool
) -> dict[str, object]:
    """Agreement with plain PyTorch, times and memory of one form."""
    half = inputs.leaves[0].dtype != torch.float32
    with torch.autocast(device, torch.bfloat16, enabled=half):
        difference = max(_difference(got, wanted) for got, wanted in zip(inputs.step(core), plain, strict=True))
        if difference > (2e-2 if half else 1e-4):
            return {"failed": f"differs from plain PyTorch by {difference:.1e} of the norm"}

        def forward() -> None:
            with torch.no_grad():
                inputs.answer(core)

        def step() -> None:
            inputs.step(core)

        figures: dict[str, object] = {
            "forward_ms": timed(forward, device, repeats),
            "step_ms": timed(step, device, repeats),
            "forward_mib": peak_mib(forward, device),
            "step_mib": peak_mib(step, device),
            "difference": difference,
        }
        if replay:
            figures |= {"forward_graph_ms": replayed(forward, repeats), "step_graph_ms": replayed(step, repeats)}
        return figures


def _difference(got: Tensor, wanted: Tensor) -> float:
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


def rows_of(words: argparse.Namespace, reference: Core | None, begin: float) -> Iterator[dict[str, object]]:
    """All measurements: what is slow to compile comes last, as long as there is time."""
    cases = ON_CPU if words.device == "cpu" else ON_GPU
    dtypes = (torch.float32,) if words.device == "cpu" else (torch.float32, torch.bfloat16)
    for name, core in forms(words.device, reference).items():
        for case in cases:
            for dtype in dtypes:
                row = {"case": case.name, "batch": case.batch, "dtype": str(dtype).split(".")[1], "form": name}
                if time.perf_counter() - begin > words.seconds:
                    yield {**row, "failed": TOO_LATE}
                    continue
                yield {**row, **_measured(case, dtype, name, core, words)}


def _measured(case: Case, dtype: torch.dtype, name: str, core: Core, words: argparse.Namespace) -> dict[str, object]:
    try:
        inputs = draw(case, dtype, words.device)
        with torch.autocast(words.device, torch.bfloat16, enabled=dtype != torch.float32):
            plain = inputs.step(sampled_attention)
        if name.endswith("compiled"):
            torch.compiler.reset()
            core = torch.compile(core, dynamic=False)
        # Gathers make tensors on the way, which cannot be recorded.
        replay = words.device == "cuda" and name in ("grid sampling", "Triton kernels", "reference operator")
        return measure(inputs, core, plain, words.device, words.repeats, replay)
    except Exception as reason:  # one form that fails must not take the others' figures along
        return {"failed": f"{type(reason).__name__}: {str(reason).strip()[:200]}"}
    finally:
        if words.device == "cuda":
            torch.cuda.empty_cache()


def as_markdown(results: dict[str, Any]) -> str:
    """The table: ratios are to grid sampling, above 1 where the form is faster."""
    plain = {(row["case"], row["dtype"]): row for row in results["rows"] if row["form"] == "grid sampling"}
    lines = []
    for key, base in plain.items():
        for row in (row for row in results["rows"] if (row["case"], row["dtype"]) == key):
            if row.get("failed") == TOO_LATE:
                continue
            start = [f"{row['case']}, batch {row['batch']}", row["dtype"], row["form"]]
            if "failed" in row:
                lines.append([*start, row["failed"].splitlines()[0][:60], "", "", "", ""])
                continue
            memory = "" if row["step_mib"] is None else f"{row['step_mib']:.0f} MiB"
            figures = (_figure(base, row, part) for part in ("forward", "step", "forward_graph", "step_graph"))
            lines.append([*start, *figures, memory])
    header = ["size", "values", "form", "forward", "forward and backward"]
    header += ["forward, replayed", "both, replayed", "peak"]
    foot = f"Medians of {results['repeats']} calls. {sentence(results['machine'])}"
    if results["device"] == "cuda":
        foot += f" Triton {results['triton']}. Reference operator: {results['reference']}."
        return f"{table(header, lines)}\n\n{foot}"
    return f"{table(header[:5], [line[:5] for line in lines])}\n\n{foot}"


def _figure(base: dict[str, Any], row: dict[str, Any], part: str) -> str:
    """Milliseconds, and how many times faster than grid sampling."""
    if (spent := row.get(f"{part}_ms")) is None:
        return ""
    return f"{spent:.3f} ms" + (f" ({base[f'{part}_ms'] / spent:.1f}x)" if f"{part}_ms" in base else "")


def chosen_blocks() -> dict[str, str]:
    """What Triton chose for each kind of input."""
    from sleuth.nn import deformable_kernels as kernels

    tuned = {"forward": kernels.forward_kernel, "backward": kernels.backward_kernel}
    return {f"{name} {kind}": str(block) for name, kernel in tuned.items() for kind, block in kernel.chosen.items()}


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch on a processor")
    parser.add_argument("--repeats", type=int, default=20, help="calls of each form")
    parser.add_argument("--seconds", type=float, default=45, help="start no measurement after these")
    parser.add_argument(
        "--reference", type=Path, metavar="FOLDER", help="build the reference operator from its sources"
    )
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    reference, origin = reference_core(words.reference) if words.device == "cuda" else (None, "runs on a GPU")
    print("reference operator:", origin, flush=True)
    begin = time.perf_counter()
    results: dict[str, Any] = {"machine": describe(words.device), "device": words.device, "repeats": words.repeats}
    results |= {"reference": origin, "rows": []}
    if words.device == "cuda":
        results["triton"] = (
            getattr(importlib.import_module("triton"), "__version__", "?") if triton_available() else "no"
        )
    for row in rows_of(words, reference, begin):
        results["rows"].append(row)
        print(json.dumps(row), flush=True)
        if words.json:
            write_json(words.json, results)
    if words.device == "cuda" and triton_available():
        results["blocks"] = chosen_blocks()
        print(json.dumps(results["blocks"], indent=2))
    print(as_markdown(results))
    if words.json:
        write_json(words.json, results)
    if words.markdown:
        put_between_marks(words.markdown, f"deformable-attention-{words.device}", as_markdown(results))


if __name__ == "__main__":
    main()
