"""Whether as many outcomes came as the probabilities promised, and whether the promises still mean the same.

Belongs here: observed against expected outcomes, and logistic recalibration of published probabilities, with tests that
know that leads of one day or campaign resemble each other. Does not belong here: other figures
(``realised_performance.py``) or which rows are mature (``tables/labels.py``).

Both tests are score tests of logistic regression on the logit of the published probability at intercept 0 and slope 1
(Cox, Two further applications of a model for binary regression, Biometrika 1958): nothing is fitted, so they work with
few outcomes. Their variance is the larger of what independent outcomes and what sums over days and over campaigns show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import chi2, f, norm, t

from elv_pipeline.learning.metrics import calibration_bins
from elv_pipeline.monitoring.drift import in_currency, not_compared
from elv_pipeline.monitoring.usual import cohens_h, false_alarms
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FloatArray = NDArray[np.float64]

MATERIAL_RATIO = 1.2
"""A fifth too many or too few outcomes; less is not called out however sure it is."""
MATERIAL_SLOPE = 0.2
LEAST_EXPECTED = 5.0
"""Expected outcomes below which nothing is said."""
_LEAST_CLUSTERS = 5
_CLUSTERS = ("day", "campaign_id", "enrollment_id")
"""Columns whose equal values make rows alike; those that the rows have count."""


def prevalence(matured: pl.DataFrame, *, comparisons: int = 1) -> dict[str, Any]:
    """Compare the outcomes of mature leads with what their published probabilities promised.

    Args:
        matured: ``p``, ``y`` (1 or 0), ``day``; with ``campaign_id`` or ``enrollment_id``, rows of one are taken as
            alike; with ``value``, the shortfall is told in money.
        comparisons: all comparisons of that day, which share the chance of a false alarm.

    Returns:
        One dictionary with the keys of ``drift`` and ``column`` ``outcome``, ``kind`` ``prevalence``: ``expected`` and
        ``observed`` are rates, ``effect`` is Cohen's h, ``threshold`` the h that would be called out;
        ``money_at_stake`` is the value that was promised and did not come, or came beyond the promise. Also
        ``ratio``, ``ratio_low``, ``ratio_high`` (observed over expected, 95 %).
    """
    rows = _usable(matured)
    named = {"column": "outcome", "kind": "prevalence"}
    nothing = {"ratio": None, "ratio_low": None, "ratio_high": None}
    p, y = rows["p"].to_numpy(), rows["y"].cast(pl.Float64).to_numpy()
    expected, observed = float(p.sum()), float(y.sum())
    if expected < LEAST_EXPECTED:
        note = f"fewer than {LEAST_EXPECTED:g} outcomes expected"
        return {**named, **not_compared(0, rows.height, note), **nothing}
    covariance, clusters = _covariance(rows, np.ones((rows.height, 1)), y - p, p)
    spread = float(covariance[0, 0]) ** 0.5
    ratio, relative = observed / expected, spread / expected
    surprise = _surprise((observed - expected) / spread, clusters)
    critical = _quantile(1 - false_alarms(comparisons) / 2, clusters)
    reach = max(MATERIAL_RATIO - 1, critical * relative)
    wide = _quantile(0.975, clusters) * relative
    rate = expected / rows.height
    return {
        **named,
        **not_compared(0, rows.height, None),
        "threshold": round(abs(cohens_h(min(rate * (1 + reach), 1.0), rate)), 6),
        "drifted": abs(ratio - 1) > reach,
        "effect": round(cohens_h(observed / rows.height, rate), 4),
        "effect_name": "Cohen's h",
        "expected": rate,
        "observed": observed / rows.height,
        "p_value": float(f"{surprise:.3g}"),
        "money_at_stake": _money(rows, observed - expected),
        "ratio": ratio,
        "ratio_low": max(ratio - wide, 0.0),
        "ratio_high": ratio + wide,
    }


def calibration(matured: pl.DataFrame) -> dict[str, Any] | None:
    """Recalibrate published probabilities: the line that their logits would need, and whether they need one.

    Args:
        matured: ``p``, ``y``, ``day``, ``campaign_id`` and ``enrollment_id`` where known.

    Returns:
        ``rows, positives``; ``slope, intercept`` of the recalibration (1 and 0 are right); ``level``, the log odds to
        be added where the slope stays 1; ``slope_error, level_error``; ``p_value`` of "nothing is needed"; ``mae`` (see
        ``learning.metrics.calibration_bins``). None with fewer than 5 outcomes or 5 leads without.
    """
    rows = _usable(matured)
    y = rows["y"].cast(pl.Float64).to_numpy()
    if min(y.sum(), len(y) - y.sum()) < LEAST_EXPECTED:
        return None
    p = np.clip(rows["p"].to_numpy(), 1e-9, 1 - 1e-9)
    design = np.column_stack([np.ones(len(p)), logit(p)])
    line, line_error = _recalibration(rows, design, y, start=np.array([0.0, 1.0]), offset=np.zeros(len(p)))
    level, level_error = _recalibration(rows, design[:, :1], y, start=np.zeros(1), offset=design[:, 1])
    return {
        "rows": rows.height,
        "positives": int(y.sum()),
        "intercept": float(line[0]),
        "slope": float(line[1]),
        "slope_error": float(line_error[1]),
        "level": float(level[0]),
        "level_error": float(level_error[0]),
        "p_value": _score_test(design.T @ (y - p), *_covariance(rows, design, y - p, p)),
        "mae": _mae(rows["y"].cast(pl.Int64).to_numpy(), p),
    }


def calibration_drift(
    reference: Mapping[str, Any] | None,
    current: Mapping[str, Any] | None,
    *,
    chance: float,
    words: Words = QUALIFIED_LEADS,
) -> dict[str, Any]:
    """Compare a recalibration with that of the rows that judged the model.

    Args:
        reference: ``calibration`` of the test rows of the training.
        current: ``calibration`` of published scores that matured.
        chance: of a false alarm.
        words: what the problem calls its rows.

    Returns:
        ``slope``, ``level`` (current minus reference), ``p_value`` of "both are the same", ``drifted`` (that is
        surely wrong, and the slope moved by 0.2 or the odds by a fifth) and ``sentence``.
    """
    if reference is None or current is None:
        which = "the training's test rows" if reference is None else f"the matured {words.rows}"
        return {
            "slope": None,
            "level": None,
            "p_value": None,
            "drifted": False,
            "sentence": f"Calibration cannot be compared: too few outcomes among {which}.",
        }
    moved = {name: current[name] - reference[name] for name in ("slope", "level")}
    errors = {name: float(np.hypot(current[f"{name}_error"], reference[f"{name}_error"])) for name in moved}
    each = [float(2 * norm.sf(abs(moved[name]) / errors[name])) if errors[name] > 0 else 1.0 for name in moved]
    p_value = min(2 * min(each), 1.0)
    material = abs(moved["slope"]) >= MATERIAL_SLOPE or abs(moved["level"]) >= np.log(MATERIAL_RATIO)
    drifted = bool(p_value < chance and material)
    verdict = "surely another line" if drifted else "no sure difference"
    said = (
        f"On {current['rows']} matured {words.rows} the log odds are off by {current['level']:+.2f} and need a slope "
        f"of {current['slope']:.2f}; on the training's test rows {reference['level']:+.2f} and "
        f"{reference['slope']:.2f}: {verdict} (p = {p_value:.2g}). Calibration MAE {current['mae']:.3f} against "
        f"{reference['mae']:.3f}."
    )
    return {**moved, "p_value": p_value, "drifted": drifted, "sentence": said}


def _usable(matured: pl.DataFrame) -> pl.DataFrame:
    """Labelled rows in an order that depends on their content alone, because sums of floats depend on the order."""
    names = [name for name in ("p", "y", "value", *_CLUSTERS) if name in matured.columns]
    return matured.select(names).filter(pl.col("y").is_not_null()).sort(names)


def _covariance(
    rows: pl.DataFrame, design: FloatArray, residual: FloatArray, p: FloatArray
) -> tuple[FloatArray, int | None]:
    """Return the covariance of the score (design times residual, summed), and the clusters that it comes from.

    The widest of what independent rows, days, campaigns and enrollments show; None clusters for rows. Sums of clusters
    are taken about what a shift common to all of them would make, for a real shift must not hide behind the spread it
    causes.
    """
    weighted = design * (p * (1 - p))[:, None]
    information: FloatArray = weighted.T @ design
    shift = np.linalg.pinv(information) @ (design.T @ residual)
    widest, clusters = information, None
    for column in (name for name in _CLUSTERS if name in rows.columns):
        member = rows[column].fill_null("") if rows[column].dtype == pl.String else rows[column]
        place = np.unique(member.to_numpy(), return_inverse=True)[1]
        count = int(place.max(initial=-1)) + 1
        if count < _LEAST_CLUSTERS:
            continue
        left = design * residual[:, None] - weighted * (design @ shift)[:, None]
        sums = np.stack([np.bincount(place, weights=term) for term in left.T], axis=1)
        found: FloatArray = sums.T @ sums * count / (count - 1)
        if np.trace(found) > np.trace(widest):
            widest, clusters = found, count
    return widest, clusters


def _score_test(score: FloatArray, covariance: FloatArray, clusters: int | None) -> float:
    statistic, terms = float(score @ np.linalg.pinv(covariance) @ score), len(score)
    if clusters is None:
        return float(chi2.sf(statistic, terms))
    # Hotelling: a covariance of several terms that comes from few clusters is itself uncertain.
    freedom = clusters - terms
    return float(f.sf(statistic * freedom / (terms * (clusters - 1)), terms, freedom))


def _surprise(z: float, clusters: int | None) -> float:
    return float(2 * (norm.sf(abs(z)) if clusters is None else t.sf(abs(z), clusters - 1)))


def _quantile(level: float, clusters: int | None) -> float:
    return float(norm.ppf(level) if clusters is None else t.ppf(level, clusters - 1))


def _recalibration(
    rows: pl.DataFrame, design: FloatArray, y: FloatArray, *, start: FloatArray, offset: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return coefficients and standard errors; a weak normal prior around the start keeps them finite."""
    precision = np.diag(1 / np.array([5.0, 1.0])[: len(start)] ** 2)
    found = start.copy()
    for _ in range(100):
        fitted = expit(design @ found + offset)
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design
        step = np.linalg.solve(information + precision, design.T @ (y - fitted) - precision @ (found - start))
        found = found + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    fitted = expit(design @ found + offset)
    covariance, _ = _covariance(rows, design, y - fitted, fitted)
    bread = np.linalg.pinv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    return found, np.sqrt(np.diag(bread @ covariance @ bread))


def _mae(y: NDArray[np.int64], p: FloatArray) -> float:
    bins = calibration_bins(y, p)
    gap = (bins["mean_predicted"] - bins["observed_rate"]).abs() * bins["rows"]
    return float(gap.sum() / len(p))


def _money(rows: pl.DataFrame, surplus: float) -> float | None:
    if "value" not in rows.columns or not rows["value"].count():
        return None
    p, value = rows["p"].to_numpy(), rows["value"].cast(pl.Float64).fill_null(0.0).to_numpy()
    return in_currency(abs(surplus) * float(p @ value) / float(p.sum()) * 1e6)
