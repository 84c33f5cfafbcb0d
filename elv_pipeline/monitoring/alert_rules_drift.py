"""Rules about rows that no longer look like those that the model learned from.

Belongs here: rules from comparisons with the model's reference to alerts. Does not belong here: the comparisons
(``watch.py`` and what it calls) or what became of published scores
(``alert_rules_performance.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elv_pipeline.monitoring.alert import Alert

Row = Mapping[str, Any]
_RETRAIN = "Find out what changed; retrain if the change is real and lasting."


def drift_alerts(drift: Sequence[Row], *, currency: str = "") -> list[Alert]:
    """What has moved beyond its threshold: one alert a kind, so that a broken export is not fifteen of them.

    Args:
        drift: rows with the keys of ``drift.drift``; ``money_at_stake`` may be missing.
        currency: of ``money_at_stake``.
    """
    moved = {
        kind: [row for row in drift if row["kind"] == kind and row["drifted"]]
        for kind in ("prevalence", "score", "domain", "missing", "feature", "new_level")
    }
    return [
        *(_prevalence(row, currency=currency) for row in moved["prevalence"][:1]),
        *(_score(row, currency=currency) for row in moved["score"][:1]),
        *(_domain(row, currency=currency) for row in moved["domain"][:1]),
        *_missing(moved["missing"], currency=currency),
        *_features(moved["feature"], currency=currency),
        *_new_levels(moved["new_level"], currency=currency),
    ]


def _score(row: Row, *, currency: str) -> Alert:
    return Alert(
        severity="warning",
        code="score_drift",
        message=f"The distribution of scores has moved: PSI {row['psi']:.3f} against a threshold of "
        f"{row['threshold']:.3f} at {row['rows_current']} leads.",
        action="See which features moved; retrain if the change is real and lasting.",
        cause="Another mix of leads, or a feature that broke: the features that moved tell which.",
        figure=row["psi"],
        threshold=row["threshold"],
        money=row.get("money_at_stake"),
        currency=currency,
    )


def _domain(row: Row, *, currency: str) -> Alert:
    return Alert(
        severity="warning",
        code="leads_unlike_training",
        message=f"Taken together, the features of {row['rows_current']} leads can be told from those of the training: "
        f"ROC-AUC {row['effect']:.3f} on days left out, against a threshold of {row['threshold']:.3f} (0.5: no "
        f"difference; {row['expected']:.3f} is usual between weeks).",
        action="See which features moved; where none did alone, combinations of them are new: retrain.",
        cause="New campaigns, audiences or forms, or an export that fills several columns differently.",
        figure=row["effect"],
        threshold=row["threshold"],
        money=row.get("money_at_stake"),
        currency=currency,
    )


def _features(rows: Sequence[Row], *, currency: str) -> list[Alert]:
    if not rows:
        return []
    worst = max(rows, key=lambda row: row["psi"])
    return [
        Alert(
            severity="info",
            code="feature_drift",
            message=f"{len(rows)} of the main features {_have(rows)} moved; most of all {worst['column']} "
            f"(PSI {worst['psi']:.3f}, threshold {worst['threshold']:.3f}).",
            action="Check whether budgets, audiences or the export changed.",
            cause="Campaigns that started, ended or were changed; or an export that fills a column differently.",
            figure=worst["psi"],
            threshold=worst["threshold"],
            money=_most_money(rows),
            currency=currency,
        )
    ]


def _missing(rows: Sequence[Row], *, currency: str) -> list[Alert]:
    if not rows:
        return []
    worst = max(rows, key=lambda row: abs(row["effect"]))
    return [
        Alert(
            severity="warning",
            code="missing_values",
            message=f"{len(rows)} column{_s(rows)} {_have(rows)} another share of missing values than in training; "
            f"most of all {worst['column']}: {worst['observed']:.1%} of {worst['rows_current']} leads, "
            f"{worst['expected']:.1%} were usual.",
            action="Check the export behind this column; where it is right, retrain.",
            cause="A join that no longer matches, a column that an export leaves out, or a form that changed.",
            figure=worst["observed"],
            threshold=worst["expected"],
            money=_most_money(rows),
            currency=currency,
        )
    ]


def _new_levels(rows: Sequence[Row], *, currency: str) -> list[Alert]:
    if not rows:
        return []
    worst = max(rows, key=lambda row: abs(row["effect"]))
    return [
        Alert(
            severity="info",
            code="new_categories",
            message=f"{len(rows)} column{_s(rows)} {_have(rows)} categories that the model never saw; most of all "
            f"{worst['column']}: {worst['observed']:.1%} of {worst['rows_current']} leads, {worst['expected']:.1%} are "
            f"usual.",
            action="Nothing if campaigns or forms are new: the weekly training learns them. Else check the export.",
            cause="New campaigns, or a spelling that changed.",
            figure=worst["observed"],
            threshold=worst["expected"],
            money=_most_money(rows),
            currency=currency,
        )
    ]


def _prevalence(row: Row, *, currency: str) -> Alert:
    fewer = row["observed"] < row["expected"]
    return Alert(
        severity="warning",
        code="outcomes_fewer_than_promised" if fewer else "outcomes_more_than_promised",
        message=f"{'Fewer' if fewer else 'More'} outcomes came than the scores promised: {row['observed']:.2%} of "
        f"{row['rows_current']} mature leads, {row['expected']:.2%} {'were' if fewer else 'had been'} promised.",
        action="Check that outcomes are recorded completely. " + _RETRAIN
        if fewer
        else "Check that outcomes are not recorded twice or by another definition. " + _RETRAIN,
        cause="Sales or its recording changed, or leads of a kind are worth less or more than they were.",
        figure=row["observed"],
        threshold=row["expected"],
        money=row.get("money_at_stake"),
        currency=currency,
    )


def _most_money(rows: Sequence[Row]) -> float | None:
    """The largest: one lead may be concerned by several columns, so a sum would count it again."""
    return max((row["money_at_stake"] for row in rows if row.get("money_at_stake") is not None), default=None)


def _have(rows: Sequence[Row]) -> str:
    return "has" if len(rows) == 1 else "have"


def _s(rows: Sequence[Row]) -> str:
    return "" if len(rows) == 1 else "s"
