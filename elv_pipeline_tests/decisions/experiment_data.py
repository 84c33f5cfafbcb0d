"""Plans and results of experiments with a known truth, made by hand.

Belongs here: what several tests of experiments share. Does not belong here: assertions.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from elv_pipeline.decisions.experiments.allocation import Allocation, assigned
from elv_pipeline.decisions.experiments.design import (
    Design,
    Guardrail,
    Metric,
    Volume,
    mean_baseline,
    rate_baseline,
)
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, make_plan

START = datetime(2026, 3, 2, tzinfo=UTC)
BOOKED = Metric(
    name="booked_call",
    words="booked a call",
    kind="rate",
    baseline=rate_baseline(800, units=8_000),
)
UNSUBSCRIBED = Metric(
    name="unsubscribed",
    words="asked not to be written to",
    kind="rate",
    better="lower",
    baseline=rate_baseline(160, units=8_000),
)
MINUTES = Metric(
    name="minutes",
    words="minutes of talk",
    kind="mean",
    baseline=mean_baseline(20.0, sd=8.0, units=4_000),
)


def design_of(**changes: Any) -> Design:
    """Six weeks, single enrollments, a rate of 10 %."""
    plain = Design(
        name="shorter-opener",
        hypothesis="A shorter first message books more calls.",
        control="the present first message",
        treatment="a first message of two sentences",
        unit="enrollment",
        allocation=Allocation(salt="shorter-opener-2026-03"),
        window_days=7,
        primary=BOOKED,
        volume=Volume(weekly_units=400),
        enrolment_weeks=5,
        starts_at=START,
    )
    return replace(plain, **changes)


def guarded(**changes: Any) -> Design:
    """The same with a guardrail."""
    return design_of(guardrails=(Guardrail(metric=UNSUBSCRIBED, margin=0.02),), **changes)


def clustered(**changes: Any) -> Design:
    """Forty organisations, each allocated whole."""
    volume = Volume(weekly_units=400, clusters=40, intracluster_correlation=0.02)
    return design_of(volume=volume, cluster="organisation", **changes)


def result_of(
    plan: ExperimentPlan,
    *,
    effect: float = 0.0,
    seed: int = 0,
    weekly: int | None = None,
    until_week: int | None = None,
    with_history: float = 0.0,
) -> pl.DataFrame:
    """A result with a planted effect on the primary metric.

    Args:
        plan: of the experiment.
        effect: planted difference, in units of the metric.
        seed: of the draw of outcomes.
        weekly: units a week; as planned by default.
        until_week: week of the export; after the end by default.
        with_history: correlation of the first column of history with the outcome of a mean.
    """
    design = plan.design
    generator = np.random.default_rng(seed)
    each = weekly or int(design.volume.weekly_units)
    count = each * plan.enrolment_weeks
    until = START + timedelta(weeks=until_week or plan.total_weeks, hours=6)
    seconds = np.arange(count) * (plan.enrolment_weeks * 7 * 86_400 / count)
    clusters = [f"org-{number}" for number in generator.integers(design.volume.clusters or 40, size=count)]
    rows = pl.DataFrame(
        {
            "unit_id": [f"e{seed}-{number}" for number in range(count)],
            "cluster_id": clusters,
            "assigned_at": [START + timedelta(seconds=float(second)) for second in seconds],
            "observed_at": [until] * count,
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("assigned_at", "observed_at")},
    )
    key = "unit_id" if design.cluster is None else "cluster_id"
    rows = rows.with_columns(assigned(rows[key], allocation=design.allocation))
    treated = (rows["arm"] == "treatment").to_numpy()
    past = generator.normal(size=count)
    rows = rows.with_columns(
        _outcome(design.primary, treated, generator, effect=effect, past=past, correlation=with_history),
        *(
            _outcome(guardrail.metric, treated, generator, effect=0.0, past=past, correlation=0.0)
            for guardrail in design.guardrails
        ),
        *(pl.Series(name, past) for name in design.history),
    )
    if design.history:
        rows = rows.with_columns(history_until=pl.col("assigned_at") - timedelta(days=1))
    return rows.filter(pl.col("assigned_at") <= until)


def _outcome(
    metric: Metric,
    treated: np.ndarray[Any, Any],
    generator: np.random.Generator,
    *,
    effect: float,
    past: np.ndarray[Any, Any],
    correlation: float,
) -> pl.Series:
    mean = metric.baseline.value + effect * treated
    if metric.kind == "rate":
        return pl.Series(metric.name, (generator.random(len(treated)) < mean).astype(float))
    noise = generator.normal(size=len(treated)) * np.sqrt(1 - correlation**2)
    return pl.Series(metric.name, mean + metric.baseline.sd * (correlation * past + noise))


def plan_of(design: Design | None = None) -> ExperimentPlan:
    """A plan of a design."""
    return make_plan(design or design_of())
