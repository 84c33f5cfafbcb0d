"""Rules about what became of published scores.

Belongs here: rules from realised performance, its reconciliation with estimates and calibration drift to alerts. Does
not belong here: the measurements (``reconciliation.py``, ``prevalence.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

WORSE = frozenset({"too optimistic", "getting worse"})
"""Verdicts of ``reconciliation.reconcile`` that a retraining answers."""


def performance_alerts(
    *,
    reconciled: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    words: Words = QUALIFIED_LEADS,
) -> list[Alert]:
    """Alert where realised figures differ from estimates, or where probabilities mean something else than they did.

    Args:
        reconciled: result of ``reconciliation.reconcile``.
        calibration: result of ``prevalence.calibration_drift``.
        words: what the problem calls its rows.
    """
    return [*_reconciled(reconciled, words), *_calibration(calibration, words)]


def _reconciled(document: Mapping[str, Any] | None, words: Words) -> list[Alert]:
    verdict = (document or {}).get("verdict", "too few")
    if document is None or verdict not in WORSE | {"too pessimistic"}:
        return []
    figures = [figure for figure in document["figures"].values() if figure["verdict"] == verdict]
    surprises = [figure["surprise"] for figure in figures if figure["surprise"] is not None]
    return [
        Alert(
            severity="warning",
            code="performance_below_estimate" if verdict in WORSE else "performance_above_estimate",
            message=str(document["sentence"]),
            action="Look at the cohorts on the monitoring page; a retraining is asked for by itself where "
            "monitoring.retrain_on_drift is on."
            if verdict in WORSE
            else "Look at the cohorts on the monitoring page and retrain.",
            cause=f"{words.title_rows} of a kind are worth something else than they were (concept drift), which no "
            "comparison of features can see.",
            figure=max(surprises, key=abs, default=None),
            threshold=0.0,
        )
    ]


def _calibration(document: Mapping[str, Any] | None, words: Words) -> list[Alert]:
    if document is None or not document["drifted"]:
        return []
    return [
        Alert(
            severity="warning",
            code="calibration_drift",
            message=str(document["sentence"]),
            action="Do not take probabilities at face value; the ranking may still hold. Retrain.",
            cause=f"The rate of outcomes, or how it differs between {words.rows}, has changed since the training.",
            figure=document["slope"],
            threshold=0.0,
        )
    ]
