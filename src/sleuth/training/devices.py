"""Devices, precision and processes of a run, through Lightning Fabric."""

import logging
import os
import warnings

import torch
from lightning_fabric import Fabric

from sleuth.errors import UserError
from sleuth.training.run_settings import RunSettings


def start_fabric(settings: RunSettings) -> Fabric:
    """Choose the device and start the processes; in each of them this returns its own handle.

    Started by ``torchrun``, the processes are there already and their number must be ``devices``, or left at 1.

    Raises:
        UserError: the device or the precision is not to be had on this machine.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = device_kind(settings)
    outside = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    processes = max(settings.devices, int(os.environ.get("LOCAL_WORLD_SIZE", outside)))
    if device == "cuda" and processes > torch.cuda.device_count():
        raise UserError(
            f"{processes} devices asked for, this machine has {torch.cuda.device_count()}",
            where="run.devices",
            mend=f"give --devices {torch.cuda.device_count()} or fewer",
        )
    several = processes > 1 or outside > 1
    if several and device == "mps":
        raise UserError("Apple's GPU trains in one process only", where="run.devices", mend="give --devices 1")
    # Fabric says which devices it uses, and recommends others: the run folder records them instead.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=device,
            devices=processes,
            num_nodes=max(1, outside // processes) if several else 1,
            strategy="ddp" if several else "auto",
            precision=settings.precision,
        )
        fabric.launch()
    return fabric


def is_main_process() -> bool:
    """Whether this process speaks for the run; True before the others are started."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def device_kind(settings: RunSettings) -> str:
    """Where a run computes: cpu, cuda or mps.

    Raises:
        UserError: it is not to be had on this machine, or lacks the precision.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device = settings.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        here = ", ".join(name for name, there in available.items() if there)
        raise UserError(f"there is no {device} device on this machine", where="run.device", mend=f"choose from: {here}")
    if settings.precision == "16-mixed" and device != "cuda":
        raise UserError("float16 training needs a CUDA GPU", where="run.precision", mend="choose bf16-mixed or 32-true")
    return device
