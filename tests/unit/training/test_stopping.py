"""Ending between two steps, and what is said when a part of the run is lost."""

import os
import signal
from contextlib import ExitStack

import pytest
from lightning_fabric import Fabric

from sleuth.errors import UserError
from sleuth.training.processes import agree, user_errors_of_lost_peers
from sleuth.training.stopping import StopRequest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def stopped_with(error: Exception, *, requested: bool) -> None:
    with StopRequest() as stop:
        stop.requested = requested
        raise error


def test_a_worker_that_the_signal_reached_first_is_no_bug():
    error = RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")
    with pytest.raises(UserError, match="continue from the last saved state with --resume"):
        stopped_with(error, requested=True)
    with pytest.raises(RuntimeError, match="killed by signal"):
        stopped_with(error, requested=False)


@pytest.mark.parametrize("requested", [False, True])
def test_other_errors_pass(requested: bool):
    with pytest.raises(RuntimeError, match="shape"):
        stopped_with(RuntimeError("shape mismatch"), requested=requested)


class Process(Fabric):
    """One of several processes, without the others."""

    def __init__(self, rank: int, count: int, *, failed: bool = False) -> None:
        self.rank, self.count, self.failed = rank, count, failed

    @property
    def is_global_zero(self) -> bool:
        return self.rank == 0

    @property
    def global_rank(self) -> int:
        return self.rank

    @property
    def world_size(self) -> int:
        return self.count

    def broadcast(self, obj: bool, src: int = 0) -> bool:
        return obj or self.failed


def fail() -> None:
    raise UserError("the folder is not empty")


def test_the_first_process_speaks_and_the_others_end_quietly():
    with pytest.raises(UserError, match="not empty"):
        agree(Process(0, 2), fail)
    with pytest.raises(SystemExit) as end:
        agree(Process(1, 2, failed=True), fail)
    assert end.value.code == 2
    agree(Process(1, 2), fail)


def lost(process: Process, error: Exception) -> None:
    with ExitStack() as stack:
        stack.enter_context(user_errors_of_lost_peers(process))
        raise error


def test_a_lost_peer_is_one_line():
    with pytest.raises(UserError, match="another process of this run has ended"):
        lost(Process(0, 2), RuntimeError("[gloo] Connection closed by peer"))
    with pytest.raises(RuntimeError, match="shape"):
        lost(Process(0, 2), RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="gloo"):
        lost(Process(0, 1), RuntimeError("gloo is a word"))
