"""The result as it stood at each look: who was enrolled, whose outcome was known, and the difference between the arms.

Belongs here: points in time, maturity, and the reading of one look. Does not belong here: boundaries and conclusions
(``decision.py``, ``analysis.py``).

A look is a moment of the plan. What is read at it is what was known then: units enrolled by then, counted where their
outcome window was over by then. Maturity is decided by age alone: counting early positives while early negatives still
wait would favour the arm with the quicker outcomes. An analysis between two looks reads the earlier one, so that asking
every day is not looking every day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from elv_pipeline.decisions.experiments.design import Metric
from elv_pipeline.decisions.experiments.effects import BoolArray, Effect, FloatArray, effect
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.decisions.experiments.sample_ratio import SampleRatio, sample_ratio
from elv_pipeline.decisions.experiments.sequential import LEAST_STEP

LEAST_EVENTS = 10
"""Positives, and negatives, of both arms together at a look; with fewer a rate's z is not nearly normal."""
LEAST_OF_AN_ARM = 5
"""Allocated units of each arm at a look; with fewer the standard error is a guess."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was known at a planned moment.

    Attributes:
        week: of the plan.
        at: the moment.
        last: whether it is the planned end.
        enrolled: allocated units of control and treatment, clusters where there are any.
        counted: units of control and treatment whose outcome counts.
        immature: enrolled units whose outcome window was not over.
        missing: units whose window was over and whose primary metric is unknown.
        information: share of the planned information.
        ratios: the sample-ratio checks.
        effect: of the primary metric; None where an arm is empty.
        guardrails: effect of each guardrail.
        too_little: why it is not judged, empty where it is.
    """

    week: int
    at: datetime
    last: bool
    enrolled: tuple[int, int]
    counted: tuple[int, int]
    immature: int
    missing: int
    information: float
    ratios: tuple[SampleRatio, ...]
    effect: Effect | None
    guardrails: dict[str, Effect | None]
    too_little: str


def start_of(rows: pl.DataFrame, plan: ExperimentPlan) -> datetime:
    """The first moment of the experiment: as planned, else the UTC day of the first allocation."""
    if plan.design.starts_at is not None:
        return plan.design.starts_at
    first: datetime = rows["assigned_at"].min()  # type: ignore[assignment]
    return first.replace(hour=0, minute=0, second=0, microsecond=0)


def looks_of(rows: pl.DataFrame, plan: ExperimentPlan, *, weeks: tuple[int, ...] | None = None) -> tuple[Look, ...]:
    """Every look that was due by the time of the export.

    Args:
        rows: checked result.
        plan: of the experiment.
        weeks: weeks in which somebody looked, where some looks were skipped; None where all were taken.

    Raises:
        ValueError: a week is not one of the plan's.
    """
    start, until = start_of(rows, plan), rows["observed_at"].max()
    planned = [look.week for look in plan.looks]
    unknown = sorted(set(weeks or ()) - set(planned))
    if unknown:
        raise ValueError(f"weeks {unknown} are no looks of this plan; it has looks in weeks {planned}")
    due = [week for week in planned if start + timedelta(weeks=week) <= until]  # type: ignore[operator]
    taken = [week for week in due if weeks is None or week in weeks or week == due[-1]]
    return tuple(
        _look(rows, plan, week=week, at=start + timedelta(weeks=week), last=week == planned[-1]) for week in taken
    )


def judged(looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """The looks that count: those with enough data, each with more information than the one before.

    Of two looks that know the same the later one counts.
    """
    kept: list[Look] = []
    for look in looks:
        if look.too_little:
            continue
        if kept and look.information - kept[-1].information < LEAST_STEP * look.information:
            kept.pop()
        if kept and look.information - kept[-1].information < LEAST_STEP * look.information:
            continue
        kept.append(look)
    return tuple(kept)


def _look(rows: pl.DataFrame, plan: ExperimentPlan, *, week: int, at: datetime, last: bool) -> Look:
    design = plan.design
    enrolled = rows.filter(pl.col("assigned_at") <= at)
    age = pl.col("assigned_at") + timedelta(days=design.window_days)
    old = enrolled.filter(age <= pl.min_horizontal(pl.lit(at), "observed_at"))
    counted = old.filter(pl.col(design.primary.name).is_not_null())
    found = _measured_metric(counted, plan, design.primary, with_history=True)
    return Look(
        week=week,
        at=at,
        last=last,
        enrolled=_allocated(enrolled, plan),
        counted=_arms(counted),
        immature=len(enrolled) - len(old),
        missing=len(old) - len(counted),
        information=_effective(counted, plan) / plan.effective_units,
        ratios=(_ratio("enrolled", enrolled, plan), _ratio("counted", counted, plan)),
        effect=found,
        guardrails={guard.metric.name: _measured_metric(old, plan, guard.metric) for guard in design.guardrails},
        too_little=_too_little(counted, plan, found),
    )


def measured(
    rows: pl.DataFrame, plan: ExperimentPlan, *, column: str, rate: bool = False, with_history: bool = False
) -> Effect | None:
    """The effect on a column among some rows; None where an arm has next to none.

    Args:
        rows: of the result; those where the column is empty are left out.
        plan: tells clusters and history.
        column: the figure.
        rate: whether it is 0 or 1.
        with_history: whether history takes away what it explains.
    """
    known = rows.filter(pl.col(column).is_not_null())
    if known.is_empty():
        return None
    history = _history_columns(known, plan.design.history) if with_history else []
    sums, sizes, treated = _sums(known, plan, [pl.col(column), *history])
    return effect(sums[:, 0], sizes, treated, rate=rate, history=sums[:, 1:])


def _measured_metric(
    rows: pl.DataFrame, plan: ExperimentPlan, metric: Metric, *, with_history: bool = False
) -> Effect | None:
    return measured(rows, plan, column=metric.name, rate=metric.kind == "rate", with_history=with_history)


def _history_columns(rows: pl.DataFrame, names: tuple[str, ...]) -> list[pl.Expr]:
    """Covariates without gaps; a unit without history is at the mean of the others, and known to be one without."""
    columns: list[pl.Expr] = []
    for name in names:
        gaps = rows[name].null_count()
        if gaps == len(rows):
            continue
        columns.append(pl.col(name).fill_null(pl.col(name).mean()))
        if gaps:
            columns.append(pl.col(name).is_null().cast(pl.Float64).alias(f"{name} unknown"))
    return columns


def _sums(rows: pl.DataFrame, plan: ExperimentPlan, columns: list[pl.Expr]) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Sums of the columns, sizes and arms of the allocated units."""
    values = rows.select(column.alias(f"c{number}") for number, column in enumerate(columns))
    treated = rows["arm"] == "treatment"
    if plan.design.cluster is None:
        return values.to_numpy().astype(np.float64), np.ones(len(rows)), treated.to_numpy()
    whole = (
        values.with_columns(cluster=rows["cluster_id"], treated=treated)
        .group_by("cluster")
        .agg(pl.col(values.columns).sum(), size=pl.len().cast(pl.Float64), treated=pl.col("treated").first())
        .sort("cluster")
    )
    return whole.select(values.columns).to_numpy(), whole["size"].to_numpy(), whole["treated"].to_numpy()


def _effective(rows: pl.DataFrame, plan: ExperimentPlan) -> float:
    """Independent units that would tell as much, with the planned intracluster correlation and the real sizes."""
    if plan.design.cluster is None or rows.is_empty():
        return float(len(rows))
    sizes = rows.group_by("cluster_id").len()["len"].to_numpy().astype(np.float64)
    alike = 1 + (sizes - 1) * plan.design.volume.intracluster_correlation
    return float(sizes.sum() ** 2 / (sizes * alike).sum())


def _too_little(counted: pl.DataFrame, plan: ExperimentPlan, found: Effect | None) -> str:
    if found is None or min(found.clusters) < LEAST_OF_AN_ARM:
        return f"fewer than {LEAST_OF_AN_ARM} allocated units of an arm have a known outcome"
    if plan.design.primary.kind == "rate":
        positives = int(counted[plan.design.primary.name].sum())
        if min(positives, len(counted) - positives) < LEAST_EVENTS:
            return f"fewer than {LEAST_EVENTS} outcomes of one kind are known"
    return ""


def _arms(rows: pl.DataFrame) -> tuple[int, int]:
    treated = int((rows["arm"] == "treatment").sum())
    return len(rows) - treated, treated


def _allocated(rows: pl.DataFrame, plan: ExperimentPlan) -> tuple[int, int]:
    return _arms(rows if plan.design.cluster is None else rows.unique("cluster_id"))


def _ratio(what: str, rows: pl.DataFrame, plan: ExperimentPlan) -> SampleRatio:
    control, treatment = _allocated(rows, plan)
    return sample_ratio(
        what,
        control=control,
        treatment=treatment,
        share=plan.design.allocation.treatment_share,
        refused_below=plan.sample_ratio_p,
    )
