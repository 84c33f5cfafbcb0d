"""Guards: reasons not to publish scores at all, because something upstream must be broken.

Belongs here: rules from scores and recent labels to critical alerts. Does not belong here: what is merely worth
knowing (``monitoring/alerts.py``), or the withholding itself (the asset that publishes).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

LEAST_LEADS = 20
"""Leads from which on one score for all of them is no coincidence."""
IMPOSSIBLE = 1e-6
"""Probability below which chance is no explanation any more."""


@dataclass(frozen=True, kw_only=True)
class RecentLabels:
    """What is known of the leads that matured last: how many have a label, how many of these are positive."""

    labelled: int
    positives: int


def guards(
    scored: pl.DataFrame,
    *,
    probability_column: str,
    base_rate: float,
    recent: RecentLabels | None,
    words: Words = QUALIFIED_LEADS,
) -> list[dict[str, str]]:
    """Every reason to withhold scores.

    Args:
        scored: the scored rows; with ``day``, a day of equal scores in a range counts as it would alone.
        probability_column: name of the probability.
        base_rate: rate of the rows that the model learned from.
        recent: labels of the leads that matured last; None without outcomes.
        words: what the problem calls its rows.

    Returns:
        Alerts with ``severity`` critical, ``code``, ``message`` and ``action``; empty where scores may be published.
    """
    days = [part[probability_column] for part in scored.partition_by("day")] if "day" in scored.columns else []
    constant = next((found for p in [*days, scored[probability_column]] if (found := _constant(p, words))), [])
    return [*constant, *_vanished(recent, base_rate, words)]


def _constant(p: pl.Series, words: Words) -> list[dict[str, str]]:
    if p.len() < LEAST_LEADS or p.n_unique() > 1:
        return []
    return [
        {
            "severity": "critical",
            "code": "constant_scores",
            "message": f"All {p.len()} {words.rows} have the same probability, {p[0]:.4f}: the features that tell "
            f"{words.rows} apart are missing or constant. The scores are withheld.",
            "action": "Look at the newest days of features and of the exports behind them, then score the days again.",
        }
    ]


def _vanished(recent: RecentLabels | None, base_rate: float, words: Words) -> list[dict[str, str]]:
    if recent is None or recent.positives or (1 - base_rate) ** recent.labelled >= IMPOSSIBLE:
        return []
    return [
        {
            "severity": "critical",
            "code": "outcomes_vanished",
            "message": f"None of the {recent.labelled} {words.rows} that matured last has an outcome, where the model "
            f"learned from {base_rate:.1%}: chance alone does this less than once in a million times. The outcomes "
            f"export or its {words.row} ids must be broken, and with them every feature of past outcomes. The scores "
            "are withheld.",
            "action": f"Check that the outcomes export is up to date and that its {words.id_in_exports}; "
            "then run the days again.",
        }
    ]
