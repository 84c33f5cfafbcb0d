"""Alerts of a run: what went wrong or looks wrong, with the number and the recommended action.

Belongs here: which rules speak about a run. Does not belong here: the rules (``alert_rules_*.py``), the figures, or
sending alerts anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from elv_pipeline.monitoring.alert import Alert, documents
from elv_pipeline.monitoring.alert_rules_drift import drift_alerts
from elv_pipeline.monitoring.alert_rules_scoring import scoring_alerts
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words


def alerts(
    *,
    metrics: Mapping[str, Any],
    drift: Sequence[Mapping[str, Any]],
    predictions: pl.DataFrame,
    further: Sequence[Alert] = (),
    currency: str = "",
    words: Words = QUALIFIED_LEADS,
) -> list[dict[str, Any]]:
    """Everything a person should know before acting on a run.

    Args:
        metrics: the model's metrics document.
        drift: results of ``drift`` and of the comparisons with the same keys.
        predictions: the scored rows.
        further: alerts of other rules, about inputs, performance, runs and the registry.
        currency: of the money in ``drift``.
        words: what the problem calls its rows.

    Returns:
        Dictionaries with ``severity``, ``code``, ``message``, ``action`` and, where known, ``cause``, ``subject``,
        ``figure``, ``threshold``, ``day``, ``money`` and ``currency``; the gravest first.
    """
    scoring = scoring_alerts(metrics, predictions, words=words)
    return documents([*scoring, *drift_alerts(drift, currency=currency, words=words), *further])
