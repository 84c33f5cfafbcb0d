"""Performance without labels: what calibrated probabilities say about leads whose outcomes are still open.

Belongs here: confidence-based performance estimation (CBPE). Does not belong here: labels, or what came true
(``realised_performance.py``, ``reconciliation.py``).

If a probability is right, it also says how often it errs: outcomes drawn from the probabilities themselves show what
every figure would be. The estimate follows a change of the mix of leads. It is blind to a change of what a lead of a
kind is worth (concept drift): such a model keeps promising what it used to keep. That is seen only as cohorts mature,
so the estimate never stands alone and is never a gate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elv_pipeline.monitoring.figures import FIGURES, figures

FloatArray = NDArray[np.float64]

DRAWS = 400
LEAST_ROWS = 20
_CELLS_AT_ONCE = 2_000_000


def estimated_performance(published: pl.DataFrame, *, seed: int = 0, draws: int = DRAWS) -> dict[str, Any]:
    """Estimate the figures of published probabilities before any outcome is known.

    Args:
        published: ``p`` (in [0, 1]) and ``value`` of an outcome of each lead; rows of one ``enrollment_id``, where
            there is one, come true together.
        seed: of the drawing.
        draws: sets of outcomes drawn.

    Returns:
        ``rows``, and ``figures``: name -> ``value``, ``low``, ``high`` (95 % of what chance would show if the
        probabilities are right), ``spread`` (standard deviation of that); None where it cannot be said, for all
        figures with fewer than 20 rows.

    Raises:
        ValueError: a probability is missing or outside [0, 1].
    """
    rows = (
        published.with_columns(pl.col("value").cast(pl.Float64))
        .select(name for name in ("p", "value", "enrollment_id") if name in published.columns)
        .sort(pl.all(), descending=True)
    )
    p, worth = rows["p"].to_numpy(), rows["value"].to_numpy()
    if not (np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()):
        raise ValueError("a published probability is missing or outside [0, 1]; score the days again")
    if rows.height < LEAST_ROWS:
        return {"rows": rows.height, "figures": {name: _nothing() for name in FIGURES}}
    alike = None
    if "enrollment_id" in rows.columns:
        alike = rows["enrollment_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    drawn = drawn_figures(p, worth, seed=seed, draws=draws, alike=alike)
    known = {"positives": float(p.sum()), "value": float(p @ worth), **_expected_losses(p)}
    return {"rows": rows.height, "figures": {name: _banded(drawn[name], known.get(name)) for name in FIGURES}}


def drawn_figures(
    p: FloatArray, worth: FloatArray, *, seed: int, draws: int, alike: NDArray[np.int64] | None = None
) -> dict[str, FloatArray]:
    """Return each figure under outcomes drawn from the probabilities themselves.

    Rows that are ``alike`` share one draw, as the moments of one enrollment share its outcome: drawn each for itself
    they would promise far less chance than there is, and every cohort would surprise.
    """
    member = np.arange(len(p)) if alike is None else alike
    count = int(member.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // max(len(p), 1))
    parts = []
    for first in range(0, draws, at_once):
        block = min(at_once, draws - first)
        parts.append(figures(p, worth, (generator.random((block, count))[:, member] < p).astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in FIGURES}


def _expected_losses(p: FloatArray) -> dict[str, float]:
    """What is known without drawing."""
    safe = np.clip(p, 1e-15, 1 - 1e-15)
    return {
        "log_loss": float(-np.mean(p * np.log(safe) + (1 - p) * np.log1p(-safe))),
        "brier": float(np.mean(p * (1 - p))),
    }


def _banded(drawn: FloatArray, known: float | None) -> dict[str, float | None]:
    usable = drawn[np.isfinite(drawn)]
    if 2 * len(usable) < len(drawn):  # most draws have no positive: the rest would speak of the lucky ones
        return {**_nothing(), "value": known}
    low, high = np.quantile(usable, (0.025, 0.975))
    value = float(usable.mean()) if known is None else known
    return {"value": value, "low": float(low), "high": float(high), "spread": float(usable.std())}


def _nothing() -> dict[str, float | None]:
    return {"value": None, "low": None, "high": None, "spread": None}
