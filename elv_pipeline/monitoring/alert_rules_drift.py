"""Rules about rows that no longer look like those that the model learned from.

Belongs here: rules from comparisons with the model's reference to alerts. Does not belong here: the comparisons
(``watch.py`` and what it calls) or what became of published scores
(``alert_rules_performance.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

Row = Mapping[str, Any]
Rule = Callable[[Sequence[Row], Words], Alert]
MATERIAL_SHARE = 0.10
"""Of the leads, or of their expected value, that the model judges without knowing what they are: a tenth is the size of
the ranking's top that people act on first. Less is worth knowing and learned by the next training."""
_RETRAIN = "Find out what changed; retrain if the change is real and lasting."


def drift_alerts(drift: Sequence[Row], *, currency: str = "", words: Words = QUALIFIED_LEADS) -> list[Alert]:
    """What has moved beyond its threshold: one alert a kind, so that a broken export is not fifteen of them.

    Args:
        drift: rows with the keys of ``drift.drift``; ``money_at_stake`` may be missing.
        currency: of ``money_at_stake``.
        words: what the problem calls its rows.
    """
    found = []
    for kind, rule in _RULES.items():
        moved = [row for row in drift if row["kind"] == kind and row["drifted"]]
        if moved:
            found.append(replace(rule(moved, words), money=_most_money(moved), currency=currency))
    return found


def _prevalence(rows: Sequence[Row], words: Words) -> Alert:
    row = rows[0]
    fewer = row["observed"] < row["expected"]
    return Alert(
        severity="warning",
        code="outcomes_fewer_than_promised" if fewer else "outcomes_more_than_promised",
        message=f"{'Fewer' if fewer else 'More'} outcomes came than the scores promised: {row['observed']:.2%} of "
        f"{row['rows_current']} mature {words.rows}, {row['expected']:.2%} {'were' if fewer else 'had been'} promised.",
        action="Check that outcomes are recorded completely. " + _RETRAIN
        if fewer
        else "Check that outcomes are not recorded twice or by another definition. " + _RETRAIN,
        cause=f"Sales or its recording changed, or {words.rows} of a kind are worth less or more than they were.",
        figure=row["observed"],
        threshold=row["expected"],
    )


def _score(rows: Sequence[Row], words: Words) -> Alert:
    row = rows[0]
    return Alert(
        severity="warning",
        code="score_drift",
        message=f"The distribution of scores has moved: PSI {row['psi']:.3f} against a threshold of "
        f"{row['threshold']:.3f} at {row['rows_current']} {words.rows}.",
        action="See which features moved; retrain if the change is real and lasting.",
        cause=f"Another mix of {words.rows}, or a feature that broke: the features that moved tell which.",
        figure=row["psi"],
        threshold=row["threshold"],
    )


def _domain(rows: Sequence[Row], words: Words) -> Alert:
    row = rows[0]
    return Alert(
        severity="warning",
        code="leads_unlike_training",
        message=f"Taken together, the features of {row['rows_current']} {words.rows} can be told from those of the "
        f"training: ROC-AUC {row['effect']:.3f} on days left out, against a threshold of {row['threshold']:.3f} (0.5: "
        f"no difference; {row['expected']:.3f} is usual between weeks).",
        action="See which features moved; where none did alone, combinations of them are new: retrain.",
        cause=f"New campaigns{words.also_new}, or an export that fills several columns differently.",
        figure=row["effect"],
        threshold=row["threshold"],
    )


def _missing(rows: Sequence[Row], words: Words) -> Alert:
    worst = max(rows, key=_size)
    return Alert(
        severity="warning",
        code="missing_values",
        message=f"{_columns(rows)} another share of missing values than in training; "
        f"most of all {worst['column']}: {worst['observed']:.1%} of {worst['rows_current']} {words.rows}, "
        f"{worst['expected']:.1%} were usual.",
        action="Check the export behind this column; where it is right, retrain.",
        cause=f"A join that no longer matches, a column that an export leaves out, {words.form_changed}.",
        figure=worst["observed"],
        threshold=worst["expected"],
    )


def _features(rows: Sequence[Row], words: Words) -> Alert:
    worst = max(rows, key=lambda row: row["psi"])
    return Alert(
        severity="info",
        code="feature_drift",
        message=f"{len(rows)} of the main features {_have(rows)} moved; most of all {worst['column']} "
        f"(PSI {worst['psi']:.3f}, threshold {worst['threshold']:.3f}).",
        action=f"Check whether {words.levers} or the export changed.",
        cause="Campaigns that started, ended or were changed; or an export that fills a column differently.",
        figure=worst["psi"],
        threshold=worst["threshold"],
    )


def _new_levels(rows: Sequence[Row], words: Words) -> Alert:
    worst = max(rows, key=lambda row: (_is_material(row), _size(row)))
    return Alert(
        severity="warning" if _is_material(worst) else "info",
        code="new_categories",
        message=f"{_columns(rows)} categories that the model never saw; most of all "
        f"{worst['column']}: {worst['observed']:.1%} of {worst['rows_current']} {words.rows}, {worst['expected']:.1%} "
        f"are usual.",
        action=f"Where campaigns or {words.templates} are new, the weekly training learns them; until then rank these "
        f"{words.rows} with care. Else check the export.",
        cause="New campaigns, or a spelling that changed.",
        figure=worst["observed"],
        threshold=worst["expected"],
    )


_RULES: Mapping[str, Rule] = {
    "prevalence": _prevalence,
    "score": _score,
    "domain": _domain,
    "missing": _missing,
    "feature": _features,
    "new_level": _new_levels,
}
"""By kind of comparison; each is given the rows that moved, at least one."""


def _is_material(row: Row) -> bool:
    """Whether more leads, or more of their value, than may be ignored have a category that the model never saw."""
    share = row.get("share_at_least")  # a comparison stored by an earlier release has none
    return share is not None and share >= MATERIAL_SHARE


def _size(row: Row) -> float:
    return abs(float(row["effect"]))


def _most_money(rows: Sequence[Row]) -> float | None:
    """The largest: one lead may be concerned by several columns, so a sum would count it again."""
    return max((row["money_at_stake"] for row in rows if row.get("money_at_stake") is not None), default=None)


def _columns(rows: Sequence[Row]) -> str:
    return f"{len(rows)} column{'' if len(rows) == 1 else 's'} {_have(rows)}"


def _have(rows: Sequence[Row]) -> str:
    return "has" if len(rows) == 1 else "have"
