"""A lock between processes: whoever holds the file is alone.

Belongs here: taking and leaving it. Does not belong here: what must not happen twice at once (its callers).

The operating system frees the lock of a process that ends, however it ends, so no lock outlives a killed run. The file
itself stays: removing it while another process waits for it would let two in.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_SECONDS = 0.1

if sys.platform == "win32":
    import msvcrt

    def _take(number: int) -> bool:
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:  # somebody else holds it
            return False
        return True

    def _leave(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(number: int) -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody else holds it
            return False
        return True

    def _leave(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)


@contextmanager
def alone(
    path: Path,
    *,
    patience_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bool]:
    """Hold a lock, between processes and between threads; yields False where another still holds it after the wait.

    Args:
        path: the file; it and its folder are made.
        patience_seconds: how long to wait for it.
        sleep: waits.
        clock: seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        until = clock() + patience_seconds
        while not (held := _take(file.fileno())) and clock() < until:
            sleep(_PAUSE_SECONDS)
        try:
            yield held
        finally:
            if held:
                _leave(file.fileno())
