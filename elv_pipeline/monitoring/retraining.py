"""When watching asks for a new training before the week is over.

Belongs here: the rule from drift and realised performance to a request, and its identity. Does not belong here: the
measurements, or starting a run (``orchestration/``).

What asks for it has come up since the newest training, so the origin is the end of the newest watched day and not the
week's: trained as of that again, a model would see the same rows. Nothing is asked for within three days of the newest
training: it has learned what there was, and what drifted before it may have drifted for the model before.

A request is known by champion, reasons and origin, not by a moment or a figure: a sensor that has forgotten what it did
asks for the same run key, and nothing runs twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from elv_pipeline.monitoring.alert_rules_performance import WORSE

PERSISTENT_DAYS = 3
ANSWERED_BY_TRAINING = ("score", "domain", "feature", "prevalence")


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """A training that is asked for.

    Attributes:
        run_key: content-derived identity.
        origin: the local day whose beginning is the training origin.
        reasons: codes such as ``drift:score`` or ``performance:too optimistic``, sorted.
        sentence: the reasons in words, for tags and alerts.
    """

    run_key: str
    origin: date
    reasons: tuple[str, ...]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For logs and tags."""
        return {**asdict(self), "origin": self.origin.isoformat(), "reasons": list(self.reasons)}


def retrain_request(
    *,
    champion_version: str,
    day: date,
    drift: pl.DataFrame,
    reconciled: Mapping[str, Any] | None,
    trained: Collection[date],
) -> RetrainRequest | None:
    """Say whether a training is asked for.

    Args:
        champion_version: version that scores; its own drift is meant.
        day: the newest watched day; the model is trained as of its end.
        drift: ``day, column, kind, drifted`` of the days until ``day`` (rows of the ``drift`` table), all compared with
            the champion's reference.
        reconciled: result of ``reconciliation.reconcile`` over the champion's cohorts; None where there is none.
        trained: origins that were trained, or for which training was refused.

    Returns:
        The request; None where nothing asks for it, or the newest training is too young to be blamed.
    """
    origin = day + timedelta(days=1)
    if any(origin < earlier + timedelta(days=PERSISTENT_DAYS) for earlier in trained):
        return None
    columns = persistent_drift(drift, day=day)
    verdict = (reconciled or {}).get("verdict", "")
    reasons = (
        *(f"drift:{column}" for column in columns),
        *([f"performance:{verdict}"] if verdict in WORSE else []),
    )
    if not reasons:
        return None
    said = [
        *([f"{_named(columns)} drifted on {PERSISTENT_DAYS} days in a row until {day}"] if columns else []),
        *([f"realised performance is {_VERDICTS[verdict]}"] if verdict in WORSE else []),
    ]
    # Which columns drifted may differ from day to day; the same origin must not be trained for each of them.
    identity = json.dumps([champion_version, sorted({reason.split(":")[0] for reason in reasons}), origin.isoformat()])
    return RetrainRequest(
        run_key=hashlib.sha256(identity.encode()).hexdigest(),
        origin=origin,
        reasons=tuple(sorted(reasons)),
        sentence=f"Version {champion_version} is trained anew as of {origin}: {' and '.join(said)}.",
    )


def persistent_drift(drift: pl.DataFrame, *, day: date) -> list[str]:
    """Columns whose score, feature or outcomes drifted on each of the last three days, in order.

    New categories alone ask for nothing: every new campaign brings some, and the weekly training learns them. Nor do
    missing values: a model that learned from a broken export would keep the fault after its repair.
    """
    since = day - timedelta(days=PERSISTENT_DAYS - 1)
    answered = pl.col("kind").is_in(ANSWERED_BY_TRAINING)
    moved = drift.filter(pl.col("drifted") & answered & pl.col("day").is_between(since, day))
    days = moved.group_by("column").agg(pl.col("day").n_unique().alias("days"))
    return days.filter(pl.col("days") == PERSISTENT_DAYS)["column"].sort().to_list()


_VERDICTS = {"too optimistic": "below what was estimated", "getting worse": "falling behind what was estimated"}
_MOST_NAMED = 3


def _named(columns: list[str]) -> str:
    more = len(columns) - _MOST_NAMED
    return ", ".join(columns[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
