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


def alerts(
    *,
    metrics: Mapping[str, Any],
    drift: Sequence[Mapping[str, Any]],
    predictions: pl.DataFrame,
    further: Sequence[Alert] = (),
    currency: str = "",
) -> list[dict[str, Any]]:
    """Everything a person should know before acting on a run.

    Args:
        metrics: the model's metrics document.
        drift: results of ``drift`` and of the comparisons with the same keys.
        predictions: the scored rows.
        further: alerts of other rules, about inputs, performance, runs and the registry.
        currency: of the money in ``drift``.

    Returns:
        Dictionaries with ``severity``, ``code``, ``message``, ``action`` and, where known, ``cause``, ``subject``,
        ``figure``, ``threshold``, ``day``, ``money`` and ``currency``; the gravest first.
    """
    return documents([*scoring_alerts(metrics, predictions), *drift_alerts(drift, currency=currency), *further])
