"""What one outcome is worth: a constant, its segment's mean, or a learned value, whichever proves best on later rows.

Belongs here: the choice and its evidence. Does not belong here: the segment means (``value_segments.py``), the trees
(``value_trees.py``), or the probability of an outcome.

The candidates are compared by forward chaining: each later stretch of outcomes is predicted by candidates fitted on
what came before. Judge is the Tweedie deviance of power 1.5, a proper score for means (Gneiting, JASA 2011) that
allows zeros, on values capped as at fit, because with one huge order the candidate that sat nearest to it would win.
Segment means are the default: they are shrunk as far as their differences may be luck. One mean for all, or a learned
value, must beat them by more than one standard error (Breiman et al., Classification and Regression Trees, 1984), the
learned value without a worse total. Only rows passed in are used: pass outcomes whose value was
known at the origin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import ConfigError, ContractError, MissingExtraError
from elv_pipeline.learning.boosting import load_lightgbm
from elv_pipeline.learning.columns import microseconds
from elv_pipeline.learning.metrics import day_clusters
from elv_pipeline.learning.value_segments import SegmentValue, cap_of
from elv_pipeline.learning.value_trees import TreeSpec, TwoPartValue
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ValueChoice = Literal["constant", "segment", "learned"]
TREES = (25, 75, 200)
FOLD_STARTS = (0.5, 0.67, 0.84, 1.0)
POWER = 1.5
WORSE_TOTAL = 0.02
"""How much further off the learned total may be than the segments', of the total."""


class ValueModel(Protocol):
    """Predicts the value of an outcome from the columns of a lead."""

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return one value a row."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""


@dataclass(frozen=True, kw_only=True)
class ConstantValue:
    """Every outcome is worth the same."""

    kind: ClassVar[str] = "constant"

    value: float

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the value for every row."""
        return np.full(table.height, self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {"kind": self.kind, "value": self.value}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(value=document["value"])


@dataclass(frozen=True, kw_only=True)
class ValueSpec:
    """How outcomes may be valued.

    Attributes:
        allow: the richest kind allowed; ``learned`` considers all three.
        constant: value of an outcome where realised values are not allowed or too few.
        timezone: where days begin.
        outcome_window_days: gap between the outcomes a candidate learns from and those it is judged on.
        segment_columns: the parent first.
        numeric_features: for the learned value.
        categorical_features: for the learned value.
        min_segment_values: realised values that segment means take.
        min_learned_values: realised values above 0 that a learned value takes.
        seed: of the trees.
        words: what rows are called in an error.
    """

    allow: ValueChoice
    constant: float
    timezone: str
    outcome_window_days: int
    segment_columns: tuple[str, ...] = ("campaign_id", "adset_id")
    numeric_features: tuple[str, ...] = ()
    categorical_features: tuple[str, ...] = ()
    min_segment_values: int = 30
    min_learned_values: int = 300
    seed: int = 7
    words: Words = QUALIFIED_LEADS

    def __post_init__(self) -> None:
        """Refuse what no data could satisfy."""
        if self.allow not in get_args(ValueChoice):
            raise ConfigError(f"value.allow is {self.allow!r}; it must be one of {', '.join(get_args(ValueChoice))}")
        if not (self.constant > 0 and np.isfinite(self.constant)):
            raise ConfigError(f"value.constant is {self.constant!r}; it must be a number above 0")


@dataclass(frozen=True, kw_only=True)
class ValueFit:
    """A fitted value model and the evidence for it, as JSON."""

    model: ValueModel
    report: dict[str, Any]


def value_model_from_dict(document: dict[str, Any]) -> ValueModel:
    """Return the fitted model that ``to_dict`` described."""
    kinds: dict[str, Callable[[dict[str, Any]], ValueModel]] = {
        ConstantValue.kind: ConstantValue.from_dict,
        SegmentValue.kind: SegmentValue.from_dict,
        TwoPartValue.kind: TwoPartValue.from_dict,
    }
    return kinds[document["kind"]](document)


def fit_value_model(table: pl.DataFrame, values: FloatArray, spec: ValueSpec) -> ValueFit:
    """Choose and fit how outcomes are valued.

    Args:
        table: one row an outcome (positive lead): ``lead_id``, ``created_time``, segment columns and features.
        values: its realised value, 0 or more; NaN where none is known.
        spec: what is allowed.

    Returns:
        The model, fitted on all known values, and a report: ``chosen``, ``sentence``, ``outcomes``, ``known_values``,
        ``zero_share``, ``share_above_cap``, ``spread`` (standard deviation of later values relative to their
        prediction, for ``value_intervals``) and ``candidates`` with their deviance, its difference to the segment means
        with its standard error, and the ratio of predicted to observed total, all on later rows.

    Raises:
        ContractError: a value is negative or infinite.
    """
    known, realised = _known(table, values, spec.words)
    described = _described(values, realised)
    if spec.allow == "constant" or len(realised) < spec.min_segment_values or not (realised > 0).any():
        reason = "as configured" if spec.allow == "constant" else _too_few(realised, spec)
        sentence = f"Every outcome is valued at {spec.constant:g}: {reason}."
        report = {"chosen": "constant", "sentence": sentence, **described, "spread": 0.0, "candidates": []}
        return ValueFit(model=ConstantValue(value=spec.constant), report=report)
    candidates, notes = _candidates(realised, spec)
    judged = _judged(known, realised, candidates, spec)
    chosen, sentence = _choice(judged)
    report = {
        "chosen": chosen,
        "sentence": " ".join([sentence, *notes]),
        **described,
        "spread": judged[chosen].pop("spread"),
        "candidates": [
            {"name": name, **{key: number for key, number in found.items() if key != "spread"}}
            for name, found in judged.items()
        ],
    }
    return ValueFit(model=candidates[chosen](known, realised), report=report)


Fit = Callable[[pl.DataFrame, FloatArray], ValueModel]


def _known(table: pl.DataFrame, values: FloatArray, words: Words) -> tuple[pl.DataFrame, FloatArray]:
    """Keep the outcomes whose value is known, in an order that depends on nothing but their content."""
    wrong = np.flatnonzero((values < 0) | np.isinf(values))
    if wrong.size:
        raise ContractError(
            f"{wrong.size} realised values are negative or infinite, first of {words.row} "
            f"{table['lead_id'][int(wrong[0])]}; a value must be 0 or more. Net refunds against the sale they belong "
            "to, or leave the value empty"
        )
    named = table.with_columns(pl.Series("_realised", values)).filter(pl.Series(~np.isnan(values)))
    ordered = named.sort("created_time", "lead_id")
    return ordered.drop("_realised"), ordered["_realised"].to_numpy()


def _described(values: FloatArray, realised: FloatArray) -> dict[str, Any]:
    total = float(np.sort(realised).sum())
    above = float(np.sort(np.maximum(realised - cap_of(realised), 0)).sum()) if realised.size else 0.0
    return {
        "outcomes": len(values),
        "known_values": len(realised),
        "zero_share": float((realised == 0).mean()) if realised.size else None,
        "share_above_cap": above / total if total else None,
    }


def _too_few(realised: FloatArray, spec: ValueSpec) -> str:
    positive = int((realised > 0).sum())
    return (
        f"{len(realised)} realised values are known, {positive} of them above 0; at least {spec.min_segment_values} "
        "must be, with one above 0"
    )


def _candidates(realised: FloatArray, spec: ValueSpec) -> tuple[dict[str, Fit], list[str]]:
    """Return what is compared, simplest first, and what could not be."""

    def segments(columns: Sequence[str]) -> Fit:
        return lambda table, values: SegmentValue.fit(table, values, columns=columns)

    def learned(trees: int) -> Fit:
        tree_spec = TreeSpec(
            segment_columns=spec.segment_columns,
            numeric=spec.numeric_features,
            categorical=spec.categorical_features,
            trees=trees,
            seed=spec.seed,
        )
        return lambda table, values: TwoPartValue.fit(table, values, tree_spec)

    candidates = {"mean": segments(()), "segment": segments(spec.segment_columns)}
    positive = int((realised > 0).sum())
    if spec.allow != "learned" or not (spec.numeric_features or spec.categorical_features):
        return candidates, []
    if positive < spec.min_learned_values:
        return candidates, [f"A learned value takes {spec.min_learned_values} values above 0; there are {positive}."]
    try:
        load_lightgbm()
    except MissingExtraError as error:
        return candidates, [f"No learned value was tried: {error}."]
    return candidates | {f"learned_{trees}_trees": learned(trees) for trees in TREES}, []


def _folds(table: pl.DataFrame, spec: ValueSpec) -> list[tuple[BoolArray, BoolArray]]:
    """Cut into rows to fit and later rows to judge, one outcome window between them where that leaves half the rows."""
    moments = microseconds(table)
    starts = [int(np.quantile(moments, share, method="lower")) for share in FOLD_STARTS]
    folds = []
    for start, end in zip(starts, [*starts[1:-1], starts[-1] + 1], strict=False):
        before = moments < start
        gapped = moments < start - spec.outcome_window_days * 86_400_000_000
        fit = gapped if 2 * gapped.sum() >= before.sum() else before
        judge = (moments >= start) & (moments < end)
        if fit.sum() >= spec.min_segment_values // 2 and judge.any():
            folds.append((fit, judge))
    return folds


def _judged(
    table: pl.DataFrame, values: FloatArray, candidates: dict[str, Fit], spec: ValueSpec
) -> dict[str, dict[str, Any]]:
    """Return what each candidate achieves on later rows."""
    predicted: dict[str, list[FloatArray]] = {name: [] for name in candidates}
    observed, capped, rows = [], [], []
    for fit, judge in _folds(table, spec):
        known, known_values = table.filter(pl.Series(fit)), values[fit]
        if not (known_values > 0).any():
            continue
        later, cap = table.filter(pl.Series(judge)), cap_of(known_values)
        # Judged on the capped scale, all candidates are scaled by what the cap took from the rows they learned from.
        kept = float(np.sort(np.minimum(known_values, cap)).sum() / np.sort(known_values).sum())
        for name, candidate in candidates.items():
            predicted[name].append(np.maximum(candidate(known, known_values).predict(later), 1e-9) * kept)
        observed.append(values[judge] * kept)
        capped.append(np.minimum(values[judge], cap))
        rows.append(later.select("created_time"))
    if not rows:
        return {name: _unjudged() for name in candidates}
    clusters = day_clusters(pl.concat(rows)["created_time"], timezone=spec.timezone)
    total, below = np.concatenate(observed), np.concatenate(capped)
    together = {name: np.concatenate(parts) for name, parts in predicted.items()}
    reference = _deviance(below, together["segment"])
    return {
        name: {
            **_compared(_deviance(below, mean), reference, clusters),
            "total_ratio": float(np.sort(mean).sum() / max(np.sort(total).sum(), 1e-9)),
            "capped_total_ratio": float(np.sort(mean).sum() / max(np.sort(below).sum(), 1e-9)),
            "spread": float(np.sqrt(np.mean((total / mean - 1) ** 2))),
        }
        for name, mean in together.items()
    }


def _unjudged() -> dict[str, Any]:
    return {
        "deviance": None,
        "difference": None,
        "standard_error": None,
        "total_ratio": None,
        "capped_total_ratio": None,
        "spread": 1.0,
    }


def _deviance(values: FloatArray, mean: FloatArray) -> FloatArray:
    """Return each row's Tweedie deviance of power 1.5, in units that scale as the root of money."""
    a, b = 1 - POWER, 2 - POWER
    deviance: FloatArray = 2 * (values**b / (a * b) - values * mean**a / a + mean**b / b)
    return deviance


def _compared(deviance: FloatArray, reference: FloatArray, clusters: npt.NDArray[np.int64] | None) -> dict[str, Any]:
    difference = deviance - reference
    member = np.arange(len(difference)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums = np.bincount(member, weights=difference - difference.mean())
    groups = len(sums)
    error = float(np.sqrt(np.sum(sums**2) * groups / max(groups - 1, 1)) / len(difference))
    return {"deviance": float(deviance.mean()), "difference": float(difference.mean()), "standard_error": error}


def _choice(judged: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Return the candidate to use, and why in a sentence."""
    if judged["segment"]["deviance"] is None:
        return "mean", "Every outcome is valued at the mean: there are no later values to judge segments by."
    # Shrunk means are next to harmless where segments do not differ; one mean for all is not where they do.
    simple = "mean" if judged["mean"]["difference"] < -judged["mean"]["standard_error"] else "segment"
    learned = {name: found for name, found in judged.items() if name.startswith("learned")}
    if learned:
        best = min(learned, key=lambda name: (learned[name]["deviance"], name))
        against = judged[simple]
        gain = against["deviance"] - learned[best]["deviance"]
        clear = -learned[best]["difference"] > learned[best]["standard_error"] and gain > 0
        off, allowed = (abs(found["capped_total_ratio"] - 1) for found in (learned[best], against))
        if clear and off <= allowed + WORSE_TOTAL:
            share = gain / against["deviance"]
            return best, (
                f"Outcomes are valued by a learned model: on later outcomes its deviance is {share:.1%} below that of "
                f"the {simple} value, and its total is {learned[best]['total_ratio']:.2f} of what was realised."
            )
    worth = "their segment's shrunk mean" if simple == "segment" else "the overall mean"
    beaten = " A learned value was not clearly better." if learned else ""
    ratio = judged[simple]["total_ratio"]
    return simple, f"Outcomes are valued at {worth}, in total {ratio:.2f} of what was realised later.{beaten}"
