"""The Triton kernels of deformable attention, under Triton's interpreter and, where there is one, on a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sleuth.nn.deformable_triton import triton_attention, triton_available

ROOT = Path(__file__).resolve().parents[2]
CASES = "tests/parity/deformable_triton_cases.py"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def run_cases(**environment: str) -> None:
    """All cases in a fresh process: without the tests' shape checks, which Triton would try to compile."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-x", "--noconftest", "-c", os.devnull]
    command += ["-p", "no:cacheprovider", "--rootdir", str(ROOT), CASES]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@needs_triton
def test_under_the_interpreter() -> None:
    run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_the_gpu() -> None:
    run_cases(TRITON_INTERPRET="0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu() -> None:
    assert not triton_available()


@needs_triton
def test_on_the_processor_it_says_where_it_runs() -> None:
    with pytest.raises(ValueError, match="runs on a GPU, and the value is on cpu"):
        triton_attention(torch.zeros(1, 4, 1, 8), ((2, 2),), torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1), (1,))
