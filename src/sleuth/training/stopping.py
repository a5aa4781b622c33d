"""Ending between two steps when the user asks for it, rather than in the middle of one."""

import os
import signal
import threading
from types import FrameType, TracebackType

from sleuth.errors import UserError


class StopRequest:
    """Within the block, Ctrl-C or a terminate signal sets ``requested``; a second one interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._process = os.getpid()
        self._former: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.requested and isinstance(error, RuntimeError | UserError) and "worker" in str(error):
            # The signal went to the whole group, and a data worker was gone before the step was over.
            raise UserError(
                "stopped in the middle of a step", mend="continue from the last saved state with --resume"
            ) from error

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A data worker, forked from here: the training process ends it, Ctrl-C does not.
            if number == signal.SIGTERM:
                os._exit(0)
            return
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
