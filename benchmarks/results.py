"""Figures of the benchmarks: one JSON line each, and what a command costs in time and memory.

Belongs here: writing a figure and measuring a process. Does not belong here: any benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_KIB_IN_GB = 1024**2
_UNITS_OF_MAXRSS = 1 if sys.platform != "darwin" else 1024


@dataclass(frozen=True)
class Measured:
    """What one finished command cost; ``output`` is its standard output."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    output: str


def append_result(home: Path, *, figure: str, value: float, unit: str, size: str) -> None:
    """Append one figure to ``<home>/bench/results.jsonl``."""
    path = home / "bench" / "results.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"figure": figure, "value": round(value, 4), "unit": unit, "size": size})
    with path.open("a", encoding="utf-8") as results:
        results.write(line + "\n")


def measured(command: list[str]) -> Measured:
    """Run a command in a fresh process and measure that process alone.

    Raises:
        RuntimeError: the command failed; its messages went to standard error.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: ended with code {process.returncode}")
    peak = usage.ru_maxrss / _UNITS_OF_MAXRSS / _KIB_IN_GB
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak, output)
