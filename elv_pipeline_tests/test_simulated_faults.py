"""The faults of the month strike where they say: each place still exists, and what is struck dies at once."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from elv_pipeline_tests.simulated_faults import KILLS, interrupted_read, interrupted_write


@pytest.mark.parametrize("name", KILLS)
def test_every_fault_finds_its_place(name: str) -> None:
    """The month runs seldom; a place that was renamed since would be noticed there only."""
    struck = []

    class Noting(pytest.MonkeyPatch):
        def setattr(self, target: Any, name: Any, value: Any = None, **_: Any) -> None:  # type: ignore[override]
            struck.append((callable(getattr(target, name)), callable(value)))

    KILLS[name](Noting())
    assert struck == [(True, True)]


def test_interruptions_find_their_place_and_have_not_struck_before_anything_runs() -> None:
    struck: list[int] = []
    with interrupted_read(lambda: struck.append(1)) as before, interrupted_write(lambda: struck.append(1)) as times:
        pass
    assert struck == before == times == []


def test_a_kill_leaves_no_time_to_clean_up() -> None:
    code = (
        "import atexit, elv_pipeline_tests.simulated_faults as f; atexit.register(print, 'cleaned up'); "
        "f._die_after(print, times=2)('one'); f._die()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == -9
    assert "cleaned up" not in found.stdout
