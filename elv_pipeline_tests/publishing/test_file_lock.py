"""Only one holds the lock; nobody waits for ever; a holder that ends leaves it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from elv_pipeline.publishing.file_lock import alone

HOLDER = """
import sys
from pathlib import Path
from elv_pipeline.publishing.file_lock import alone
with alone(Path(sys.argv[1]), patience_seconds=0) as held:
    print(held, flush=True)
    sys.stdin.readline()
"""


def test_another_waits_as_long_as_it_is_patient_and_then_goes_without(tmp_path: Path) -> None:
    file, seconds = tmp_path / "alerts" / "shop.lock", [0.0]

    def sleep(pause: float) -> None:
        seconds[0] += pause

    with alone(file, patience_seconds=0) as first:
        with alone(file, patience_seconds=3, sleep=sleep, clock=lambda: seconds[0]) as second:
            assert (first, second) == (True, False)
        assert 3 <= seconds[0] < 4
    with alone(file, patience_seconds=0) as third:
        assert third


def test_an_error_leaves_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), alone(tmp_path / "lock", patience_seconds=0):
        raise ValueError("inside")
    with alone(tmp_path / "lock", patience_seconds=0) as held:
        assert held


def test_a_killed_process_leaves_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with alone(file, patience_seconds=0) as held:
            assert not held
        holder.kill()
        holder.wait()
    with alone(file, patience_seconds=0) as held:
        assert held
