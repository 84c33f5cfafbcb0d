"""The mean value of an outcome by segment: shrunk to the parent, and not made by one huge order.

Belongs here: capping, shrinkage, the fitted means. Does not belong here: whether they are used (``value_model.py``).

Values are capped at a high quantile before segments are compared, and the means are scaled by one factor so that the
total stays what it was: what lies above the cap is real money, but which segment it fell into is mostly luck. The
shrinkage is the credibility of Buhlmann and Straub (1970), level below level (Jewell 1975): a segment of n outcomes
counts n / (n + k), with k the variance within segments over the variance between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

FloatArray = npt.NDArray[np.float64]
CAPPED_SHARE = 0.02
LEAST_PRIOR_OUTCOMES = 5.0
MOST_PRIOR_OUTCOMES = 2_000.0
_SEPARATOR = "\x1f"


def cap_of(values: FloatArray) -> float:
    """Return the value above which lie 2 % of the positive values, and at least one (Rivest, Biometrika 1994)."""
    positive = np.sort(values[values > 0])
    above = max(1, int(np.ceil(CAPPED_SHARE * positive.size)))
    return float(positive[-1 - above]) if positive.size > above else float(values.max(initial=0.0))


@dataclass(frozen=True, kw_only=True)
class SegmentValue:
    """Everyone gets the mean of their deepest known segment.

    Attributes:
        columns: segment columns, the parent first; none of them makes one mean for all.
        overall: mean of all values.
        means: by depth, the shrunk mean of each segment that was seen; names of a path are joined.
        prior_outcomes: by depth, the outcomes that the parent counts for.
    """

    kind: ClassVar[str] = "segment"

    columns: tuple[str, ...]
    overall: float
    means: tuple[dict[str, float], ...]
    prior_outcomes: tuple[float, ...]

    @classmethod
    def fit(cls, table: pl.DataFrame, values: FloatArray, *, columns: Sequence[str]) -> Self:
        """Learn from outcomes: one row each, and its value (0 or more)."""
        used = tuple(column for column in columns if column in table.columns)
        capped = np.minimum(values, cap_of(values))
        total, kept = _sorted_sum(values), _sorted_sum(capped)
        factor = total / kept if kept else 1.0
        below = np.full(len(values), kept / len(values))
        raw, means, priors = below, [], []
        for depth in range(len(used)):
            path = _path(table, used[: depth + 1])
            level = _level(path, capped, raw=raw, parent=below)
            priors.append(_prior_outcomes(level))
            shrunk = (level["total"] + priors[-1] * level["parent"]) / (level["n"] + priors[-1])
            means.append(dict(zip(level["path"].to_list(), (shrunk * factor).to_list(), strict=True)))
            below = _looked_up(path, dict(zip(level["path"], shrunk, strict=True)), otherwise=below)
            raw = _looked_up(path, dict(zip(level["path"], level["total"] / level["n"], strict=True)), otherwise=raw)
        return cls(columns=used, overall=total / len(values), means=tuple(means), prior_outcomes=tuple(priors))

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the value of each row's outcome."""
        found = np.full(table.height, self.overall)
        for depth, means in enumerate(self.means):
            present = [column for column in self.columns[: depth + 1] if column in table.columns]
            if len(present) == depth + 1:
                found = _looked_up(_path(table, present), means, otherwise=found)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "kind": self.kind,
            "columns": list(self.columns),
            "overall": self.overall,
            "means": list(self.means),
            "prior_outcomes": list(self.prior_outcomes),
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(
            columns=tuple(document["columns"]),
            overall=document["overall"],
            means=tuple(document["means"]),
            prior_outcomes=tuple(document["prior_outcomes"]),
        )


def _sorted_sum(values: FloatArray) -> float:
    return float(np.sort(values).sum())


def _path(table: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Name the segment by its ids from the top; null where one of them is missing."""
    path = pl.concat_str([pl.col(name).cast(pl.String) for name in columns], separator=_SEPARATOR)
    return table.select(path.alias("path")).to_series()


def _level(path: pl.Series, values: FloatArray, *, raw: FloatArray, parent: FloatArray) -> pl.DataFrame:
    """Segments of one level: n, total, squares around their own mean, raw mean of their parent, its shrunk mean."""
    return (
        pl.DataFrame({"path": path, "value": values, "raw": raw, "parent": parent})
        .drop_nulls("path")
        .sort("path", "value")
        .group_by("path", maintain_order=True)
        .agg(
            n=pl.len().cast(pl.Float64),
            total=pl.col("value").sum(),
            within=((pl.col("value") - pl.col("value").mean()) ** 2).sum(),
            raw=pl.col("raw").first(),
            parent=pl.col("parent").first(),
        )
    )


def _prior_outcomes(level: pl.DataFrame) -> float:
    """Return the variance within segments over that between siblings, by moments (nested analysis of variance)."""
    n, raw = level["n"].to_numpy(), level["raw"].to_numpy()
    _, parent = np.unique(raw, return_inverse=True)  # siblings share their parent's mean
    rows, families = np.bincount(parent, weights=n), len(np.unique(parent))
    degrees = float(n.sum()) - len(n)
    informative = float(n.sum() - np.sum(np.bincount(parent, weights=n**2) / rows))
    if len(n) == families or degrees < 1 or informative <= 0:
        return MOST_PRIOR_OUTCOMES
    noise = float(level["within"].sum()) / degrees
    spread = float(np.sum(n * (level["total"].to_numpy() / n - raw) ** 2))
    between = (spread - (len(n) - families) * noise) / informative
    return (
        float(np.clip(noise / between, LEAST_PRIOR_OUTCOMES, MOST_PRIOR_OUTCOMES))
        if between > 0
        else MOST_PRIOR_OUTCOMES
    )


def _looked_up(path: pl.Series, means: dict[str, float], *, otherwise: FloatArray) -> FloatArray:
    if not means:
        return otherwise
    found = path.replace_strict(means, default=None, return_dtype=pl.Float64)
    values: FloatArray = found.fill_null(pl.Series(otherwise)).to_numpy() if found.null_count() else found.to_numpy()
    return values
