"""What outcomes turned out to be worth: how many carry a value, and how unevenly it is spread.

Belongs here: aggregates of realised values. Does not belong here: what a lead is expected to be worth
(``learning.value_model``), or the value of any single outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.ingest.sources import Sources

FEWEST_DESCRIBED = 10
"""Of fewer values a mean or a median would almost be the value of somebody."""
FEWEST_RANKED = 100
"""Of fewer outcomes there is no whole one in the largest 1 %."""


def outcome_values(sources: Sources) -> dict[str, Any] | None:
    """Counts and spread of realised values over the outcomes as read; None where no outcome carries one.

    Returns:
        ``outcomes``, ``known`` (those with a value); ``mean`` and ``median`` in units of the currency and
        ``zero_share``, None of fewer than ``FEWEST_DESCRIBED`` values; ``top_1pct_share``, the share of the total that
        the largest 1 % (rounded up) of the values hold, None of fewer than ``FEWEST_RANKED`` or where all are 0.
    """
    if sources.outcomes is None:
        return None
    column = sources.outcomes.frame["value_micros"]
    known = column.drop_nulls().sort(descending=True)
    count = len(known)
    if not count:
        return None
    described, total = count >= FEWEST_DESCRIBED, int(known.sum())
    middle = int(known[(count - 1) // 2]) + int(known[count // 2])
    top = int(known.head(-(-count // 100)).sum())
    return {
        "outcomes": len(column),
        "known": count,
        "mean": total / count / MICROS if described else None,
        "median": middle / 2 / MICROS if described else None,
        "zero_share": int((known == 0).sum()) / count if described else None,
        "top_1pct_share": top / total if count >= FEWEST_RANKED and total else None,
    }


def values_in_words(found: Mapping[str, Any], *, currency: str) -> str:
    """The spread as one line, without the counts; empty where it is not told."""
    if found["mean"] is None:
        return ""
    parts = [
        f"mean {found['mean']:,.2f} {currency}",
        f"median {found['median']:,.2f} {currency}",
        f"{100 * found['zero_share']:.1f} % worth nothing",
    ]
    if found["top_1pct_share"] is not None:
        parts.append(f"the largest 1 % hold {100 * found['top_1pct_share']:.1f} % of the total")
    return ", ".join(parts)
