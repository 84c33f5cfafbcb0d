"""Which partitions of an upstream table one partition reads.

Belongs here: the type. Does not belong here: Dagster's mappings (``asset_parts.py``), or reading.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Partitions of an upstream asset that one partition reads, as offsets in days or, for weekly assets, weeks.

    Between daily assets the window is shown in the asset's metadata and not given to Dagster: with it, a backfill of
    selected assets over a range becomes several runs and rewrites days beyond the range, because Dagster follows the
    windows. The assets themselves read their window and refuse when a day of it is missing.
    """

    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"from {self.start:+d} to {self.end:+d} days"
