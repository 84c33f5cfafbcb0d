"""Judged elements as rows of a table: one an element, kind and outcome.

Belongs here: columns and their types. Does not belong here: figures (``findings.py``).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from elv_pipeline.decisions.recommend.findings import Judged, sentence_of

SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(),
    "element": pl.String(),
    "outcome": pl.String(),
    "window_days": pl.Int64(),
    "label_column": pl.String(),
    "underperforming": pl.Boolean(),
    "status": pl.String(),
    "label": pl.String(),
    "rate_with": pl.Float64(),
    "rate_alternatives": pl.Float64(),
    "naive_difference": pl.Float64(),
    "difference": pl.Float64(),
    "difference_low": pl.Float64(),
    "difference_high": pl.Float64(),
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
    "shrunk": pl.Float64(),
    "shrunk_low": pl.Float64(),
    "shrunk_high": pl.Float64(),
    "own_weight": pl.Float64(),
    "margin": pl.Float64(),
    "probability_below_margin": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "rows_with": pl.Int64(),
    "rows_alternatives": pl.Int64(),
    "contacts_with": pl.Int64(),
    "contacts_alternatives": pl.Int64(),
    "effective_with": pl.Float64(),
    "effective_alternatives": pl.Float64(),
    "rows_without_alternative": pl.Int64(),
    "overlap": pl.String(),
    "share_outside": pl.Float64(),
    "imbalance_before": pl.Float64(),
    "imbalance_after": pl.Float64(),
    "e_value": pl.Float64(),
    "e_value_limit": pl.Float64(),
    "volume": pl.Float64(),
    "money_at_stake_micros": pl.Int64(),
    "money_at_stake_low_micros": pl.Int64(),
    "money_at_stake_high_micros": pl.Int64(),
    "sentence": pl.String(),
}


def row_of(judged: Judged) -> dict[str, Any]:
    """Return an element as a plain dictionary, ready for JSON."""
    effect = judged.effect
    found: dict[str, Any] = {
        "kind": effect.comparison.kind,
        "element": effect.element,
        "outcome": effect.comparison.outcome,
        "window_days": effect.comparison.window_days,
        "label_column": effect.comparison.label_column,
        "underperforming": judged.underperforming,
        "status": judged.status,
        "label": effect.label,
        "naive_difference": effect.naive,
        "rows_without_alternative": effect.rows_without_alternative,
        "volume": judged.volume,
        "sentence": sentence_of(judged),
        **_overlap_columns(judged),
        **_estimate_columns(judged),
        **_evidence_columns(judged),
    }
    return {name: found.get(name) for name in SCHEMA}


def _overlap_columns(judged: Judged) -> dict[str, Any]:
    overlap = judged.effect.overlap
    if overlap is None:
        return {}
    return {
        "overlap": overlap.verdict,
        "share_outside": overlap.share_outside,
        "imbalance_before": overlap.worst_before,
        "imbalance_after": overlap.worst_after,
    }


def _estimate_columns(judged: Judged) -> dict[str, Any]:
    estimate = judged.effect.estimate
    if estimate is None:
        return {}
    return {
        "rate_with": estimate.with_element,
        "rate_alternatives": estimate.with_alternatives,
        "difference": estimate.difference,
        "difference_low": estimate.low,
        "difference_high": estimate.high,
        "ratio": estimate.ratio,
        "ratio_low": estimate.ratio_low,
        "ratio_high": estimate.ratio_high,
        "rows_with": estimate.rows[0],
        "rows_alternatives": estimate.rows[1],
        "contacts_with": estimate.contacts[0],
        "contacts_alternatives": estimate.contacts[1],
        "effective_with": estimate.effective[0],
        "effective_alternatives": estimate.effective[1],
    }


def _evidence_columns(judged: Judged) -> dict[str, Any]:
    evidence = judged.evidence
    if evidence is None:
        return {}
    return {
        "shrunk": evidence.shrunk,
        "shrunk_low": evidence.shrunk_low,
        "shrunk_high": evidence.shrunk_high,
        "own_weight": evidence.own_weight,
        "margin": evidence.margin,
        "probability_below_margin": evidence.probability_below_margin,
        "p_value": evidence.p_value,
        "q_value": evidence.q_value,
        "e_value": None if evidence.e_values is None else evidence.e_values.estimate,
        "e_value_limit": None if evidence.e_values is None else evidence.e_values.limit,
        "money_at_stake_micros": judged.money_micros(evidence.shrunk),
        # The interval turns round: the largest loss belongs to the lowest effect.
        "money_at_stake_low_micros": judged.money_micros(evidence.shrunk_high),
        "money_at_stake_high_micros": judged.money_micros(evidence.shrunk_low),
    }
