"""Keeping several processes of one run in step when something goes wrong in one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from sleuth.errors import UserError


def mean_over_processes(values: Float[Tensor, " values"]) -> Float[Tensor, " values"]:
    """The mean of each value over all processes, for every process.

    Without the barrier of Fabric's own reduction, so that a GPU need not be waited for.
    """
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def agree(fabric: Fabric, action: Callable[[], None]) -> None:
    """Let the first process do something; if that fails by a user's fault, all processes end, and only it speaks.

    Raises:
        UserError: that of the action, in the first process.
        SystemExit: in the others.
    """
    fault: UserError | None = None
    if fabric.is_global_zero:
        try:
            action()
        except UserError as error:
            fault = error
    failed = fabric.broadcast(fault is not None)
    if fault is not None:
        raise fault
    if failed:
        raise SystemExit(2)


@contextmanager
def user_errors_of_lost_peers(fabric: Fabric) -> Iterator[None]:
    """Turn the failure of an exchange between processes, where one has ended, into one line.

    Raises:
        UserError: another process of the run has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size > 1 and _lost_peer(error):
            raise UserError(
                "another process of this run has ended",
                where=f"process {fabric.global_rank} of {fabric.world_size}",
                mend="its own message says why; continue with --resume",
            ) from error
        raise
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        # None leaves while another still talks to it.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _lost_peer(error: RuntimeError) -> bool:
    signs = ("closed by peer", "Connection reset", "gloo", "NCCL", "Broken pipe")
    return any(sign in str(error) for sign in signs) or isinstance(error, torch.distributed.DistError)
