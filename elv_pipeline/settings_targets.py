"""The targets of each problem, as a configuration names them, and what a problem asks of a configuration.

Belongs here: the words of the configuration, the names of columns that follow from them, the usual windows and gates,
and the exports that must be there. Does not belong here: which rows of the data a target is made of (``problems/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elv_pipeline.settings_base import EXPORTS


@dataclass(frozen=True, kw_only=True)
class TargetName:
    """One target.

    Attributes:
        label: its name in label columns, as in ``<label>_within_14d``.
        window_days: length of the outcome window where the configuration does not say.
    """

    label: str
    window_days: int


TARGETS: Mapping[str, Mapping[str, TargetName]] = {
    "lead_ads": {"qualified": TargetName(label="qualified", window_days=14)},
    "outreach": {
        "booked_call": TargetName(label="booked_call", window_days=7),
        "qualified": TargetName(label="qualified", window_days=14),
        "converted": TargetName(label="conversion", window_days=30),
    },
}
"""By problem and target; the first of a problem is its default."""
GATES: Mapping[str, Mapping[str, float]] = {"outreach": {"max_brier_increase": 0.0, "min_lift_at_10pct": 1.2}}
"""Gates of ``promotion`` that a problem has beside the usual ones, where the configuration does not say."""
MOST_TARGETS = 3
"""Models that one configuration file may ask for."""
REQUIRED_PATHS: Mapping[str, tuple[str, ...]] = {
    "lead_ads": ("leads_path",),
    "outreach": tuple(f"{table}_path" for table in EXPORTS["outreach"] if table != "outcomes"),
}
"""Exports that a problem cannot do without."""
