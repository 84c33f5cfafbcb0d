"""The backtest: models of many origins, each judged on the weeks that followed it.

Belongs here: how judgements of single origins become one: by origin, pooled, stable or not, calibrated over time. Does
not belong here: training at an origin (``training.py``), or reading rows.

An origin's model saw only what was recorded before the origin; the rows that judge it were created after it and have
matured since. Nothing is resampled across that line, so the backtest is what would have happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import chi2

from elv_pipeline.learning.fitting import labels
from elv_pipeline.learning.metrics import rate_interval, row_clusters
from elv_pipeline.learning.proof import judged
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.problems.words import Words

FloatArray = npt.NDArray[np.float64]
LEAST_POSITIVES = 5
"""Outcomes after an origin below which its metrics would be noise; the rows still count in the pooled figures."""
SHOWN = ("pr_auc", "roc_auc", "log_loss", "brier_skill", "lift_at_10pct", "calibration_mae")
LOWER_IS_BETTER = frozenset({"log_loss", "calibration_mae"})


@dataclass(frozen=True, kw_only=True)
class OriginRows:
    """The mature leads that followed one origin, with what each model said about them.

    Attributes:
        origin: the training origin.
        moment: its local midnight, aware.
        version: of the model.
        rows: ``lead_id``, ``created_time``, ``y`` (1 or 0), sorted by (created_time, lead_id).
        predictions: probabilities by name; the model's is ``model``.
        worth: predicted value of an outcome of each row.
        realised: what each row brought.
        reference_rate: the rate that was known at the origin.
        waiting: leads of the same weeks whose outcome is still open.
    """

    origin: date
    moment: datetime
    version: str
    rows: pl.DataFrame
    predictions: Mapping[str, FloatArray]
    worth: FloatArray
    realised: FloatArray
    reference_rate: float
    waiting: int


def backtest(origins: Sequence[OriginRows], spec: LearningSpec, *, refused: Mapping[date, str]) -> dict[str, Any]:
    """Aggregate the judgements of many origins.

    Args:
        origins: in order of time.
        spec: the learning task; seed, samples and time zone of the intervals, and the value of an outcome.
        refused: why no model was trained at some origins.

    Returns:
        JSON document: ``origins`` (each with counts, ``models``, ``differences``, ``calibration``, ``value``),
        ``refused``, ``pooled`` (each lead judged once, by the newest model before it), ``stability`` and ``wins`` by
        baseline, ``sentence``.
    """
    single = [_origin(found, spec) for found in origins]
    pooled = _pooled(origins, spec)
    measured = [entry for entry in single if entry["models"] is not None]
    return {
        "origins": single,
        "refused": [{"origin": str(day), "reason": reason} for day, reason in sorted(refused.items())],
        "pooled": pooled,
        "stability": {metric: _stability(measured, metric) for metric in SHOWN},
        "wins": _wins(measured),
        "sentence": _sentence(pooled, single, refused, spec.words),
    }


def own_rows(origins: Sequence[OriginRows]) -> list[tuple[OriginRows, npt.NDArray[np.bool_]]]:
    """Return which rows of each origin no later origin's model could have scored: each lead counts once."""
    ends = [*(found.moment for found in origins[1:]), datetime.max.replace(tzinfo=UTC)]
    return [(found, (found.rows["created_time"] < end).to_numpy()) for found, end in zip(origins, ends, strict=True)]


def _origin(found: OriginRows, spec: LearningSpec) -> dict[str, Any]:
    positives = int(labels(found.rows).sum()) if found.rows.height else 0
    counts = {
        "origin": str(found.origin),
        "version": found.version,
        "rows": found.rows.height,
        "positives": positives,
        "waiting": found.waiting,
    }
    if positives < LEAST_POSITIVES or positives == found.rows.height:
        return {**counts, "models": None, "differences": None, "calibration": None, "value": None}
    document = judged(found.rows, found.predictions, spec, reference_rate=found.reference_rate)
    ratio = _ratio(found.rows, found.predictions["model"], spec)
    return {
        **counts,
        "base_rate": document["test"]["base_rate"],
        "models": document["models"],
        "differences": document["differences"],
        "calibration": ratio,
        "value": _value([found], [np.ones(found.rows.height, dtype=bool)]),
    }


def _ratio(rows: pl.DataFrame, p: FloatArray, spec: LearningSpec) -> dict[str, float]:
    """Return expected and observed outcomes and observed / expected with what the observed rate's interval leaves."""
    y = labels(rows)
    low, high = rate_interval(y, clusters=row_clusters(rows, timezone=spec.timezone, column=spec.cluster_column))
    expected = float(np.sort(p).sum())
    scale = len(y) / expected
    return {
        "expected": expected,
        "observed": float(y.sum()),
        "ratio": float(y.mean()) * scale,
        "ratio_low": low * scale,
        "ratio_high": high * scale,
    }


def _value(origins: Sequence[OriginRows], masks: Sequence[npt.NDArray[np.bool_]]) -> dict[str, float]:
    """Sum what was promised and what came over the chosen rows, in currency."""
    promised = [
        found.predictions["model"][mine] * found.worth[mine] for found, mine in zip(origins, masks, strict=True)
    ]
    came = [found.realised[mine] for found, mine in zip(origins, masks, strict=True)]
    # Sorted, because sums of floats depend on the order.
    return {
        "predicted": float(np.sort(np.concatenate(promised)).sum()),
        "realised": float(np.sort(np.concatenate(came)).sum()),
    }


def _pooled(origins: Sequence[OriginRows], spec: LearningSpec) -> dict[str, Any] | None:
    """Judge all leads together, each scored by the newest model that existed before it."""
    kept = [(found, mine) for found, mine in own_rows(origins) if mine.any()]
    if not kept:
        return None
    names = set.intersection(*(set(found.predictions) for found, _ in kept))
    rows = pl.concat(
        [found.rows.filter(pl.Series(mine)).select("lead_id", "created_time", "y") for found, mine in kept]
    )
    predictions = {
        name: np.concatenate([found.predictions[name][mine] for found, mine in kept]) for name in sorted(names)
    }
    positives = int(labels(rows).sum())
    if not 0 < positives < rows.height:
        return None
    weights = [int(mine.sum()) for _, mine in kept]
    reference = float(np.average([found.reference_rate for found, _ in kept], weights=weights))
    ratio = _ratio(rows, predictions["model"], spec)
    return {
        **judged(rows, predictions, spec, reference_rate=reference),
        "calibration": ratio,
        "value": _value([found for found, _ in kept], [mine for _, mine in kept]),
    }


def _stability(measured: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Say how much a metric differs between origins, and whether that is more than its intervals explain.

    ``excess_share`` is I squared: the share of the spread between origins that chance within each does not explain
    (Higgins and Thompson, Quantifying heterogeneity in a meta-analysis, Statistics in Medicine 2002). Origins whose
    weeks overlap resemble each other, which makes it smaller than it would be.
    """
    figures = [entry["models"]["model"][metric] for entry in measured]
    known = [figure for figure in figures if figure["value"] is not None]
    if not known:
        return {"origins": 0, "mean": None, "least": None, "most": None, "excess_share": None, "p_value": None}
    values = np.array([figure["value"] for figure in known])
    described = {
        "origins": len(known),
        "mean": float(values.mean()),
        "least": float(values.min()),
        "most": float(values.max()),
    }
    spans = [
        (figure["value"], (figure["high"] - figure["low"]) / 3.92) for figure in known if figure["low"] is not None
    ]
    spans = [(value, error) for value, error in spans if error > 0]
    if len(spans) < 2:
        return {**described, "excess_share": None, "p_value": None}
    value, error = (np.array(column) for column in zip(*spans, strict=True))
    weight = 1 / error**2
    spread = float(np.sum(weight * (value - np.average(value, weights=weight)) ** 2))
    freedom = len(value) - 1
    return {
        **described,
        "excess_share": max(0.0, 1 - freedom / spread) if spread > 0 else 0.0,
        "p_value": float(chi2.sf(spread, freedom)),
    }


def _wins(measured: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count for each baseline and metric at how many origins the model was better, and surely better."""
    names = sorted({name for entry in measured for name in entry["differences"]})
    return {
        name: {
            metric: _counted(
                [entry["differences"][name][metric] for entry in measured if name in entry["differences"]],
                sign=-1 if metric in LOWER_IS_BETTER else 1,
            )
            for metric in ("pr_auc", "log_loss")
        }
        for name in names
    }


def _counted(differences: Sequence[Mapping[str, float | None]], *, sign: int) -> dict[str, int]:
    values = [d["value"] * sign for d in differences if d["value"] is not None]
    surely = [
        d
        for d in differences
        if d["low"] is not None and d["high"] is not None and min(d["low"] * sign, d["high"] * sign) > 0
    ]
    return {"origins": len(values), "better": sum(value > 0 for value in values), "surely_better": len(surely)}


def _sentence(
    pooled: Mapping[str, Any] | None, single: Sequence[Mapping[str, Any]], refused: Mapping[date, str], words: Words
) -> str:
    counted = f"{len(single)} origin(s) with a model, {len(refused)} refused"
    if pooled is None:
        return f"{counted}; the weeks after them hold no matured {words.rows} of both classes yet."
    auc, ratio = pooled["models"]["model"]["roc_auc"], pooled["calibration"]
    span = "" if auc["low"] is None else f" ({auc['low']:.3f} to {auc['high']:.3f})"
    return (
        f"{counted}: on {pooled['test']['rows']:,} {words.rows}, each scored by the newest model before it, ROC-AUC is "
        f"{auc['value']:.3f}{span}, and {ratio['observed']:.0f} outcomes were observed where {ratio['expected']:.1f} "
        f"were expected."
    )
