"""What a machine has that a training is chosen by: cores, memory, a GPU, and whether bfloat16 is fast in it."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from sleuth.data.cache import free_memory

_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Machine:
    """Where a training will run.

    Args:
        cores: processor cores that this process may use.
        memory: bytes of main memory that are free.
        gpu_memory: bytes of memory of the GPU to train on; None where there is none.
        fast_bf16: whether the device computes faster in bfloat16.
    """

    cores: int
    memory: int
    gpu_memory: int | None = None
    fast_bf16: bool = False


def this_machine(device: str = "auto") -> Machine:
    """The machine that this runs on.

    Args:
        device: what the training was asked to take: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device in ("auto", "cuda") and torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        fast = torch.cuda.get_device_capability(0) >= (8, 0)
        return Machine(cores, free_memory(), gpu_memory=memory, fast_bf16=fast)
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        # Its memory is the machine's own.
        return Machine(cores, free_memory(), gpu_memory=free_memory(), fast_bf16=False)
    return Machine(cores, free_memory(), fast_bf16=bool(_BF16_FLAGS & _processor_flags()))


def _processor_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the processor says of itself; nothing where the system does not tell."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
