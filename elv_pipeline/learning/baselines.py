"""What a model has to beat, given the same rows: rates, cost per lead, a rule of the user's, contenders not chosen.

Belongs here: the baselines, their choice for the data at hand, and their stored form. Does not belong here: the
comparison (metrics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import ConfigError
from elv_pipeline.learning.calibration import FittedCalibration, SigmoidCalibrator, calibrator_from_dict
from elv_pipeline.learning.estimators import estimator_from_dict
from elv_pipeline.learning.fitting import CalibratedEstimator
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan

FloatArray = npt.NDArray[np.float64]
LEAST_PRIOR_ROWS = 20.0
MOST_PRIOR_ROWS = 2_000.0


@dataclass(frozen=True)
class ConstantRate:
    """Everyone gets the rate of the rows learned from."""

    rate: float

    @classmethod
    def fit(cls, known: pl.DataFrame) -> Self:
        """Take the rate of ``y``."""
        return cls(int(known["y"].cast(pl.Int64).sum()) / known.height)

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the rate for every row."""
        return np.full(table.height, self.rate)


@dataclass(frozen=True)
class ShrunkSegmentRate:
    """Everyone gets the rate of their segment, pulled toward the overall rate as if by ``prior_rows`` more rows.

    The m-estimate (Cestnik 1990). Its m is empirical Bayes: of the rates' spread between segments, what the binomial
    does not explain is signal (method of moments of the beta-binomial), and the less signal the stronger the pull.
    A segment that is missing or was never seen gets the overall rate.
    """

    overall: float
    prior_rows: float
    column: str | None
    rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, known: pl.DataFrame, *, column: str | None) -> Self:
        """Learn the segments' rates from rows with ``y``."""
        overall = ConstantRate.fit(known).rate
        if column is None or column not in known.columns:
            return cls(overall, MOST_PRIOR_ROWS, None)
        counts = (
            known.select(segment=pl.col(column).cast(pl.String), y=pl.col("y").cast(pl.Int64))
            .drop_nulls("segment")
            .group_by("segment")
            .agg(rows=pl.len().cast(pl.Int64), positives=pl.col("y").sum())
            .sort("segment")
        )
        prior_rows = _prior_rows(counts["rows"].to_numpy(), counts["positives"].to_numpy(), overall=overall)
        shrunk = (counts["positives"] + prior_rows * overall) / (counts["rows"] + prior_rows)
        return cls(overall, prior_rows, column, dict(zip(counts["segment"], shrunk, strict=True)))

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the shrunk rate of each row's segment."""
        return _by_segment(table, column=self.column, values=self.rates, default=self.overall)


@dataclass(frozen=True)
class CostPerLead:
    """Everyone gets a probability from what their campaign pays for a lead: what a buyer sees in the ads manager.

    The cost is the campaign's spend of the last window on record before the test, divided by its leads in that
    window. Cheap leads are better or worse, as the outcomes say: a sigmoid of the negative or the positive log cost,
    whichever fits the known rows better. A campaign that is missing, new or without spend gets the median cost.
    """

    column: str
    costs: Mapping[str, float]
    median: float
    sign: float
    sigmoid: SigmoidCalibrator

    @classmethod
    def fit(
        cls, known: pl.DataFrame, before: pl.DataFrame, *, column: str, spend_column: str, days: int
    ) -> CostPerLead | None:
        """Learn from known rows and from all rows ``before`` the test; None where no campaign has spend and leads."""
        costs = _costs(before, column=column, spend_column=spend_column, days=days)
        if not costs:
            return None
        median = float(np.median(list(costs.values())))
        logs = np.log(_by_segment(known, column=column, values=costs, default=median))
        y = known["y"].cast(pl.Int8).to_numpy()
        fits = [(sign, SigmoidCalibrator.fit(sign * logs, y)) for sign in (-1.0, 1.0)]
        sign, sigmoid = min(fits, key=lambda fit: _log_loss(fit[1].predict(fit[0] * logs), y))
        return cls(column, costs, median, sign, sigmoid)

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the probability that each row's campaign cost implies."""
        costs = _by_segment(table, column=self.column, values=self.costs, default=self.median)
        return self.sigmoid.predict(self.sign * np.log(costs))


@dataclass(frozen=True)
class Rule:
    """The user's own rule: an SQL expression over the feature columns, the higher the better, made a probability.

    Rows where it is null get the rule's mean over the rows learned from.
    """

    expression: str
    mean: float
    scale: float
    sigmoid: SigmoidCalibrator

    @classmethod
    def fit(cls, known: pl.DataFrame, *, expression: str) -> Self:
        """Learn the sigmoid that turns the rule's score into a probability.

        Raises:
            ConfigError: the expression cannot be computed on the features, or is no number.
        """
        score = cls._score(known, expression)
        finite = score[np.isfinite(score)]
        mean = float(finite.mean()) if finite.size else 0.0
        scale = float(finite.std()) if finite.size and finite.std() > 0 else 1.0
        standard = (np.where(np.isfinite(score), score, mean) - mean) / scale
        return cls(expression, mean, scale, SigmoidCalibrator.fit(standard, known["y"].cast(pl.Int8).to_numpy()))

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the probability that the rule's score implies."""
        score = self._score(table, self.expression)
        return self.sigmoid.predict((np.where(np.isfinite(score), score, self.mean) - self.mean) / self.scale)

    @staticmethod
    def _score(table: pl.DataFrame, expression: str) -> FloatArray:
        try:
            column = table.lazy().drop("y", strict=False).select(pl.sql_expr(expression).alias("score")).collect()
            score = column["score"].cast(pl.Float64).to_numpy()
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise ConfigError(
                f"proof.rule is {expression!r}; it must be an SQL expression over feature columns that yields a "
                f"number, such as campaign_qualified_rate_90d or CASE WHEN platform = 'x' THEN 2 ELSE 1 END: "
                f"{str(error).splitlines()[0]}. 'elv build-table' writes the table with all columns"
            ) from error
        return np.broadcast_to(score, (table.height,)) if len(score) == 1 else score


Baseline = ConstantRate | ShrunkSegmentRate | CostPerLead | Rule | CalibratedEstimator


@dataclass(frozen=True)
class Baselines:
    """Every baseline that the data at hand allow, fitted on the rows that the model knows."""

    by_name: Mapping[str, Baseline]

    @classmethod
    def fit(
        cls,
        table: pl.DataFrame,
        labelled: pl.DataFrame,
        spec: LearningSpec,
        *,
        plan: SplitPlan,
        peers: Mapping[str, CalibratedEstimator],
    ) -> Self:
        """Fit the baselines of one split.

        The rates are taken from the train and the calibration rows: the model's calibrator has seen the latter, and
        a baseline with older news than the model would be beaten by the news alone.

        Args:
            table: every row of the training table, labelled or not; leads without label still cost money.
            labelled: the labelled rows with ``split``.
            spec: the learning task.
            plan: the split.
            peers: contenders that were fitted on the same split and not chosen, by name.
        """
        known = labelled.filter(pl.col("split").is_in(["train", "calibration"]))
        found: dict[str, Baseline] = {
            "constant": ConstantRate.fit(known),
            "campaign_rate": ShrunkSegmentRate.fit(known, column=spec.segment_column),
        }
        if spec.segment_column and spec.spend_column and {spec.segment_column, spec.spend_column} <= set(table.columns):
            cost = CostPerLead.fit(
                known,
                table.filter(pl.col("created_time") < plan.test_from),
                column=spec.segment_column,
                spend_column=spec.spend_column,
                days=spec.spend_days,
            )
            if cost is not None:
                found["cost_per_lead"] = cost
        if spec.rule:
            found["rule"] = Rule.fit(known.select(*spec.features, "y"), expression=spec.rule)
        return cls({**found, **peers})

    def predict(self, table: pl.DataFrame) -> dict[str, FloatArray]:
        """Return each baseline's probabilities of the rows."""
        return {name: baseline.predict(table) for name, baseline in self.by_name.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document, so that later rows can be judged by the very same baselines."""
        return {name: _to_dict(baseline) for name, baseline in self.by_name.items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` described."""
        return cls({name: _from_dict(name, state) for name, state in document.items()})


def _to_dict(baseline: Baseline) -> dict[str, Any]:
    if isinstance(baseline, CalibratedEstimator):
        calibration = baseline.calibration
        return {
            "estimator": baseline.estimator.to_dict(),
            "calibrator": calibration.calibrator.to_dict(),
            "rows": calibration.rows,
            "positives": calibration.positives,
        }
    state: dict[str, Any] = {name: getattr(baseline, name) for name in baseline.__dataclass_fields__}
    return {name: value.to_dict() if name == "sigmoid" else value for name, value in state.items()}


def _from_dict(name: str, state: Mapping[str, Any]) -> Baseline:
    if "estimator" in state:
        calibrator = calibrator_from_dict(state["calibrator"])
        calibration = FittedCalibration(
            calibrator=calibrator,
            method=calibrator.method,
            candidates={},
            rows=state["rows"],
            positives=state["positives"],
        )
        return CalibratedEstimator(estimator_from_dict(state["estimator"]), calibration)
    restored: dict[str, Any] = {
        key: calibrator_from_dict(value) if key == "sigmoid" else value for key, value in state.items()
    }
    kinds: dict[str, type[ConstantRate] | type[ShrunkSegmentRate] | type[CostPerLead] | type[Rule]] = {
        "constant": ConstantRate,
        "campaign_rate": ShrunkSegmentRate,
        "cost_per_lead": CostPerLead,
        "rule": Rule,
    }
    return kinds[name](**restored)


def _by_segment(table: pl.DataFrame, *, column: str | None, values: Mapping[str, float], default: float) -> FloatArray:
    if column is None or not values or column not in table.columns:
        return np.full(table.height, default)
    found = table[column].cast(pl.String).replace_strict(values, default=None, return_dtype=pl.Float64)
    return found.fill_null(default).to_numpy()


def _costs(before: pl.DataFrame, *, column: str, spend_column: str, days: int) -> dict[str, float]:
    """Spend of each segment's last window on record by the leads in that window; only where both are positive."""
    rows = before.select(column, "created_time", "lead_id", spend=spend_column).drop_nulls([column, "spend"])
    newest = rows.sort("created_time", "lead_id").group_by(column, maintain_order=True).last()
    window = pl.duration(days=days)
    counts = (
        before.select(column, "created_time")
        .drop_nulls(column)
        .join(newest.select(column, last="created_time", spend="spend"), on=column, how="inner", validate="m:1")
        .filter(pl.col("created_time") > pl.col("last") - window)
        .group_by(column)
        .agg(leads=pl.len(), spend=pl.col("spend").first())
        .filter(pl.col("spend") > 0)
        .sort(column)
    )
    return {str(segment): spend / leads for segment, leads, spend in counts.iter_rows()}


def _log_loss(p: FloatArray, y: npt.NDArray[np.int8]) -> float:
    return float(-np.mean(np.where(y == 1, np.log(p), np.log1p(-p))))


def _prior_rows(rows: npt.NDArray[np.int64], positives: npt.NDArray[np.int64], *, overall: float) -> float:
    """Return the beta-binomial's a + b by moments, within bounds that keep one lucky campaign from the top."""
    if len(rows) < 2:
        return MOST_PRIOR_ROWS
    noise = overall * (1 - overall)
    chi_square = float(np.sum((positives - rows * overall) ** 2 / rows)) / noise
    informative_rows = float(rows.sum() - np.sum(rows**2) / rows.sum())
    # Share of the variance that lies between segments (the intra-class correlation) = 1 / (a + b + 1).
    between = (chi_square - (len(rows) - 1)) / max(informative_rows, 1.0)
    return float(np.clip(1 / between - 1, LEAST_PRIOR_ROWS, MOST_PRIOR_ROWS)) if between > 0 else MOST_PRIOR_ROWS
