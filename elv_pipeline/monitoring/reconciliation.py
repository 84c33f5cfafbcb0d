"""Estimated against realised performance, cohort by cohort: whether the estimate could be trusted.

Belongs here: the table of both, the error of the estimate over time, and the verdict in words. Does not belong here:
either of the two measurements.

Both are taken on the same rows, the mature leads of a cohort, so their difference is chance or a broken promise:
probabilities that no longer mean what they meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import t

from elv_pipeline.contracts.outputs import PERFORMANCE
from elv_pipeline.monitoring.estimated_performance import estimated_performance
from elv_pipeline.monitoring.figures import FIGURES, HIGHER_IS_BETTER
from elv_pipeline.monitoring.realised_performance import realised_performance

LEAST_COHORTS = 3
CHANCE = 0.01
MATERIAL = 1.0
"""Mean surprise below which nothing is called out: what chance does to a single cohort."""
PRIOR_COHORTS = 5
JUDGED = ("log_loss", "pr_auc", "positives", "value")
"""Figures that the verdict looks at: the probabilities, the order, the number and the money."""
_WORDS = {"log_loss": "log loss", "pr_auc": "PR-AUC", "positives": "number of outcomes", "value": "realised value"}


def cohort_performance(rows: pl.DataFrame, *, seed: int = 0) -> list[dict[str, Any]]:
    """Estimated and realised performance of each cohort, oldest first.

    Args:
        rows: result of ``realised_performance.judgeable``.
        seed: of drawing and resampling.

    Returns:
        Dictionaries: ``cohort``, ``rows``, ``mature_rows``, ``complete`` (all its leads are mature),
        ``model_versions``, ``estimated`` (of all its rows), ``estimated_mature`` (of those that were judged) and
        ``realised`` (None while no lead is mature).
    """
    found = []
    for cohort in rows["cohort"].unique().sort().to_list():
        part = rows.filter(pl.col("cohort") == cohort)
        matured = part.filter(pl.col("y").is_not_null())
        estimated = estimated_performance(part, seed=seed)
        same = matured.height == part.height
        found.append(
            {
                "cohort": cohort,
                "rows": part.height,
                "mature_rows": matured.height,
                "complete": bool(part["mature"].all()),
                "model_versions": part["model_version"].unique().sort().to_list(),
                "estimated": estimated,
                "estimated_mature": estimated if same else _estimated(matured, seed=seed),
                "realised": realised_performance(matured, seed=seed) if matured.height else None,
            }
        )
    return found


def _estimated(matured: pl.DataFrame, *, seed: int) -> dict[str, Any] | None:
    return estimated_performance(matured, seed=seed) if matured.height else None


def performance_table(cohorts: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The cohorts as rows of ``PERFORMANCE``: one a cohort and figure."""
    rows = []
    for cohort in cohorts:
        realised = cohort["realised"]["figures"] if cohort["realised"] else {}
        beside = (cohort["estimated_mature"] or cohort["estimated"])["figures"]
        for name in FIGURES:
            promised, came = beside[name], realised.get(name, {})
            rows.append(
                {
                    "cohort": cohort["cohort"],
                    "figure": name,
                    "estimated": promised["value"],
                    "estimated_low": promised["low"],
                    "estimated_high": promised["high"],
                    "realised": came.get("value"),
                    "realised_low": came.get("low"),
                    "realised_high": came.get("high"),
                    "surprise": _surprise(promised, came, name),
                    "rows": cohort["rows"],
                    "mature_rows": cohort["mature_rows"],
                    "complete": cohort["complete"],
                    "model_versions": ", ".join(cohort["model_versions"]),
                }
            )
    return pl.DataFrame(rows, schema=PERFORMANCE.schema)


def reconcile(table: pl.DataFrame, *, figures: Sequence[str] = JUDGED) -> dict[str, Any]:
    """Say of each figure whether the estimate held in the cohorts that are complete.

    Args:
        table: rows of ``PERFORMANCE``.
        figures: which ones.

    Returns:
        ``verdict`` (``too few``, ``holds``, ``too optimistic``, ``too pessimistic``, ``getting worse``), ``sentence``,
        and ``figures``: for each ``cohorts``, ``surprise`` (mean in standard deviations; negative: worse than
        estimated), ``p_value``, ``error`` (mean absolute difference), ``trend`` (change of the surprise a cohort),
        ``trend_p_value`` and ``verdict``. The worst verdict of the figures is that of all.
    """
    found = {name: _reconciled(table.filter(pl.col("figure") == name), len(figures)) for name in figures}
    order = ("too optimistic", "getting worse", "too pessimistic", "holds", "too few")
    verdict = min((figure["verdict"] for figure in found.values()), key=order.index)
    return {"verdict": verdict, "sentence": _sentence(verdict, found), "figures": found}


def _surprise(promised: Mapping[str, float | None], came: Mapping[str, float | None], name: str) -> float | None:
    """Difference in standard deviations of what chance would show; positive is better than promised."""
    value, spread, realised = promised["value"], promised["spread"], came.get("value")
    if value is None or realised is None or not spread:
        return None
    return round((realised - value) / spread * (1 if HIGHER_IS_BETTER[name] else -1), 6)


def _reconciled(rows: pl.DataFrame, comparisons: int) -> dict[str, Any]:
    usable = rows.filter(pl.col("complete") & pl.col("surprise").is_not_null()).sort("cohort")
    z, count = usable["surprise"].to_numpy(), usable.height
    error = None if not count else float((usable["realised"] - usable["estimated"]).abs().mean() or 0.0)  # type: ignore[arg-type]
    if count < LEAST_COHORTS:
        return {
            "cohorts": count,
            "surprise": float(z.mean()) if count else None,
            "p_value": None,
            "error": error,
            "trend": None,
            "trend_p_value": None,
            "verdict": "too few",
        }
    mean = float(z.mean())
    spread, freedom = _spread(z - mean, count - 1)
    p_value = _chance(mean * np.sqrt(count), spread, freedom)
    trend, trend_p = _trend(z)
    level = CHANCE / comparisons
    verdict = "holds"
    if p_value < level and abs(mean) >= MATERIAL:
        verdict = "too optimistic" if mean < 0 else "too pessimistic"
    elif trend_p is not None and trend_p < level and trend is not None and trend < 0:
        verdict = "getting worse"
    return {
        "cohorts": count,
        "surprise": mean,
        "p_value": p_value,
        "error": error,
        "trend": trend,
        "trend_p_value": trend_p,
        "verdict": verdict,
    }


def _trend(z: Any) -> tuple[float | None, float | None]:
    count = len(z)
    if count < 2 * LEAST_COHORTS:
        return None, None
    time = np.arange(count) - (count - 1) / 2
    slope = float(time @ z / (time @ time))
    left = z - z.mean() - slope * time
    return slope, _chance(slope * float(np.sqrt(time @ time)), *_spread(left, count - 2))


def _spread(left: Any, freedom: int) -> tuple[float, int]:
    """Standard deviation of surprises and its freedom: at least the 1 that chance makes, which is known beforehand.

    Few cohorts say little about how much more than chance they differ, so what they say is mixed with that 1 (Smyth,
    Statistical Applications in Genetics and Molecular Biology 2004).
    """
    both = PRIOR_COHORTS + freedom
    return max(1.0, float(np.sqrt((PRIOR_COHORTS + left @ left) / both))), both


def _chance(total: float, spread: float, freedom: int) -> float:
    return float(2 * t.sf(abs(total) / spread, freedom))


def _sentence(verdict: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    cohorts = max(figure["cohorts"] for figure in found.values())
    if verdict == "too few":
        return f"{cohorts} complete cohorts; at least {LEAST_COHORTS} are needed to judge the estimates."
    culprits = [_WORDS.get(name, name) for name, figure in found.items() if figure["verdict"] == verdict]
    named = ", ".join(culprits)
    return {
        "holds": f"Over {cohorts} complete cohorts the estimates held: realised figures differ from them by chance.",
        "too optimistic": f"Over {cohorts} complete cohorts the estimates were too optimistic ({named}): the "
        "probabilities no longer mean what they meant. Trust the realised figures, and retrain.",
        "too pessimistic": f"Over {cohorts} complete cohorts more came than was estimated ({named}): the probabilities "
        "are too low. Trust the realised figures, and retrain.",
        "getting worse": f"Over {cohorts} complete cohorts realised figures fall further and further behind the "
        f"estimates ({named}): the probabilities are losing their meaning. Retrain.",
    }[verdict]
