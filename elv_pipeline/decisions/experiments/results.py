"""The result of an experiment as a typed, checked frame: one row a unit that was allocated, mature or not.

Belongs here: its columns, its rules, and reading it from a file. Does not belong here: what follows from it
(``analysis.py``).

| column | meaning |
|---|---|
| ``unit_id`` | the unit; once each |
| ``arm`` | ``control`` or ``treatment``, as allocated, whatever it received |
| ``cluster_id`` | what was allocated whole, where the plan has clusters |
| ``assigned_at`` | when it was allocated |
| ``observed_at`` | until when it was watched: the moment of the export, not of the outcome |
| the plan's metrics | within the outcome window: 0 or 1 of a rate, an amount of a mean; empty where unknown |
| ``outcome_at`` | optional: when a positive outcome of the primary rate happened |
| the plan's history | figures from before the allocation; empty where there is no history |
| ``history_until`` | until when history was counted; needed with history, never after ``assigned_at`` |

Times are ISO 8601 with an offset. Messages show ids and numbers of rows, never anything else of a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.messages import violation
from elv_pipeline.decisions.experiments.allocation import ARMS, assigned
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.formats import read_any
from elv_pipeline.ingest.parsing.text_table import Layout

TIME = pl.Datetime("us", "UTC")
_TIMES = ("assigned_at", "observed_at", "outcome_at", "history_until")
_WITH_OFFSET = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?(Z|z|[+-]\d{2}:?\d{2})$"
_ROW = "source_row"
_ENOUGH, _DIFFERENT = 50, 0.1
"""Units, and the difference of shares, from which ``observed_at`` is taken to be the time of the outcome."""


def needed_columns(plan: ExperimentPlan) -> tuple[str, ...]:
    """Columns without which a result of this plan cannot be judged."""
    design = plan.design
    return (
        "unit_id",
        "arm",
        *(("cluster_id",) if design.cluster is not None else ()),
        "assigned_at",
        "observed_at",
        *metric_columns(plan),
        *((*design.history, "history_until") if design.history else ()),
    )


def metric_columns(plan: ExperimentPlan) -> tuple[str, ...]:
    """The primary metric and the guardrails."""
    return (plan.design.primary.name, *(guardrail.metric.name for guardrail in plan.design.guardrails))


def read_results(path: Path, plan: ExperimentPlan) -> pl.DataFrame:
    """Read the result of an experiment from a CSV, Excel or Parquet file.

    Args:
        path: the file.
        plan: what it is the result of; tells which columns are needed.

    Returns:
        ``source_row``, the needed columns and ``outcome_at`` where the file has it, checked.

    Raises:
        ContractError: the file cannot be read or breaks a rule; the message names file, row, rule and remedy.
    """
    needed = needed_columns(plan)

    def choose(header: list[str]) -> Layout:
        _require_columns(header, needed=needed, place=path.name)
        known = [name for name in (*needed, "outcome_at") if name in header]
        return Layout(position={name: header.index(name) for name in known}, dropped=())

    table = read_any(path, choose=choose, name="experiment result", decimal=".", allow_no_rows=False)
    return checked(_typed(table.frame, plan, place=path.name), plan, place=path.name)


def checked(rows: pl.DataFrame, plan: ExperimentPlan, *, place: str = "result") -> pl.DataFrame:
    """Check typed rows against the plan; returns them with ``source_row``, in the order of ``unit_id``.

    Args:
        rows: columns as above: text, ``Datetime("us", "UTC")`` and Float64.
        plan: what they are the result of.
        place: what to call them in messages.

    Raises:
        ContractError: a column is missing or a rule is broken.
    """
    _require_columns(rows.columns, needed=needed_columns(plan), place=place)
    if _ROW not in rows.columns:
        rows = rows.with_row_index(_ROW, offset=1)
    for rule in (_filled, _known_arms, _one_arm, _in_time, _metric_values, _outcome_times, _history_before):
        rule(rows, plan, place)
    _watched(rows, plan, place)
    return rows.sort("unit_id")


def _require_columns(header: Iterable[str], *, needed: tuple[str, ...], place: str) -> None:
    missing = [name for name in needed if name not in set(header)]
    if missing:
        raise ContractError(
            f"{place}: no column {', '.join(missing)}; a result of this plan needs {', '.join(needed)}. "
            f"Export it with these names."
        )


def _typed(text: pl.DataFrame, plan: ExperimentPlan, *, place: str) -> pl.DataFrame:
    times = [name for name in _TIMES if name in text.columns]
    numbers = [*metric_columns(plan), *plan.design.history]
    for name in times:
        _refuse(
            text.filter(pl.col(name).is_not_null() & ~pl.col(name).str.contains(_WITH_OFFSET)),
            column=name,
            place=place,
            rule="times are ISO 8601 with an offset, such as 2026-03-02T09:00:00+01:00",
            remedy="Export them with their offset, or with Z where they are UTC.",
        )
    parsed = text.with_columns(
        *(_moment(pl.col(name)).alias(f"_{name}") for name in times),
        *(pl.col(name).cast(pl.Float64, strict=False).alias(f"_{name}") for name in numbers),
    )
    for name in (*times, *numbers):
        kind = "a time that exists" if name in times else "a number with a decimal point, or empty"
        _refuse(
            parsed.filter(pl.col(name).is_not_null() & pl.col(f"_{name}").is_null()),
            column=name,
            place=place,
            rule=f"it must be {kind}",
            remedy="Fix the value in the export.",
        )
    return parsed.with_columns(pl.col(f"_{name}").alias(name) for name in (*times, *numbers)).select(text.columns)


def _moment(text: pl.Expr) -> pl.Expr:
    """ISO 8601 with an offset to UTC; a minute without seconds is its first."""
    plain = text.str.replace(" ", "T").str.replace_all(" ", "").str.replace(r"[Zz]$", "+00:00")
    plain = plain.str.replace(r"([+-]\d{2})(\d{2})$", "$1:$2").str.replace(r"T(\d{2}:\d{2})([+-])", "T$1:00$2")
    return plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us", time_zone="UTC")


def _refuse(bad: pl.DataFrame, *, column: str, place: str, rule: str, remedy: str) -> None:
    if bad.is_empty():
        return
    first = bad.sort(_ROW).row(0, named=True)
    raise ContractError(
        violation(
            place=place,
            row=int(first[_ROW]),
            column=column,
            value=first[column],
            count=len(bad),
            rule=rule,
            remedy=remedy,
            about_people=True,
        )
    )


def _filled(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    design = plan.design
    for name in needed_columns(plan):
        if name not in metric_columns(plan) and name not in design.history and name != "history_until":
            empty = rows.filter(pl.col(name).is_null())
            _refuse(empty, column=name, place=place, rule="it must not be empty", remedy="Export it for every unit.")
    twice = rows.filter(pl.col("unit_id").is_duplicated())
    _refuse(
        twice,
        column="unit_id",
        place=place,
        rule="each unit is one row, of the arm it was allocated to",
        remedy="Export one row a unit; a unit that is in both arms belongs to neither experiment.",
    )


def _known_arms(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    unknown = rows.filter(~pl.col("arm").is_in(list(ARMS)))
    _refuse(unknown, column="arm", place=place, rule=f"it must be {' or '.join(ARMS)}", remedy="Rename the arms.")


def _one_arm(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    key = "unit_id" if plan.design.cluster is None else "cluster_id"
    if plan.design.allocation.method == "hash":
        drawn = assigned(rows[key].cast(pl.String), allocation=plan.design.allocation)
        _refuse(
            rows.filter(drawn != rows["arm"]),
            column=key,
            place=place,
            rule="its arm is not the one that the plan's salt gives it",
            remedy="Export the arm as allocated, not as received; check that the plan is the one that was used.",
        )
    elif plan.design.cluster is not None:
        _refuse(
            rows.filter(pl.col("arm").n_unique().over("cluster_id") > 1),
            column="cluster_id",
            place=place,
            rule="a cluster is allocated whole, but has units in both arms",
            remedy="Export the arm as allocated; where it was not, the experiment cannot be judged.",
        )


def _in_time(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    if plan.design.starts_at is not None:
        _refuse(
            rows.filter(pl.col("assigned_at") < plan.design.starts_at),
            column="assigned_at",
            place=place,
            rule=f"it lies before the start of the experiment ({plan.design.starts_at.isoformat()})",
            remedy="Leave out units of before the start.",
        )
    _refuse(
        rows.filter(pl.col("observed_at") < pl.col("assigned_at")),
        column="observed_at",
        place=place,
        rule="a unit cannot have been watched until before it was allocated",
        remedy="Put the moment of the export there.",
    )


def _metric_values(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    design = plan.design
    kinds = {design.primary.name: design.primary.kind}
    kinds |= {guardrail.metric.name: guardrail.metric.kind for guardrail in design.guardrails}
    for name in (*kinds, *design.history):
        rate = kinds.get(name) == "rate"
        wrong = ~pl.col(name).is_in([0.0, 1.0]) if rate else ~pl.col(name).is_finite()
        rule = "it must be 0, 1 or empty" if rate else "it must be a finite number or empty"
        _refuse(
            rows.filter(pl.col(name).is_not_null() & wrong),
            column=name,
            place=place,
            rule=rule,
            remedy="Fix the value in the export.",
        )


def _outcome_times(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    """An outcome counts within its window; what came later would favour units that were enrolled early."""
    if "outcome_at" not in rows.columns or plan.design.primary.kind != "rate":
        return
    end = pl.col("assigned_at") + timedelta(days=plan.design.window_days)
    inside = pl.col("outcome_at").is_between("assigned_at", end)
    positive = pl.col(plan.design.primary.name) == 1
    _refuse(
        rows.filter(pl.col("outcome_at").is_not_null() & (positive & ~inside | ~positive & inside)),
        column="outcome_at",
        place=place,
        rule=f"{plan.design.primary.name} is 1 exactly where the outcome came within {plan.design.window_days} days",
        remedy="Compute the metric within the outcome window.",
    )


def _history_before(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    """History that was counted after the allocation knows what the treatment did, and would explain its effect away."""
    if not plan.design.history:
        return
    known = pl.any_horizontal(pl.col(name).is_not_null() for name in plan.design.history)
    late = pl.col("history_until").is_null() | (pl.col("history_until") > pl.col("assigned_at"))
    _refuse(
        rows.filter(known & late),
        column="history_until",
        place=place,
        rule="history must have been counted until the allocation at the latest",
        remedy="Count history up to assigned_at, and say so in history_until.",
    )


def _watched(rows: pl.DataFrame, plan: ExperimentPlan, place: str) -> None:
    """Refuse ``observed_at`` that is the time of the outcome: positives would be left out as if they were young."""
    if plan.design.primary.kind != "rate":
        return
    until, window = rows["observed_at"].max(), timedelta(days=plan.design.window_days)
    old = rows.filter(pl.col("assigned_at") + window <= until, pl.col(plan.design.primary.name).is_not_null())
    unwatched = pl.col("observed_at") < pl.col("assigned_at") + window
    by_value = old.group_by(plan.design.primary.name).agg(unwatched.mean().alias("share"))
    share = dict(by_value.select(plan.design.primary.name, "share").iter_rows())
    if len(old) >= _ENOUGH and len(share) == 2 and abs(share[1.0] - share[0.0]) > _DIFFERENT:
        raise ContractError(
            f"{place}: of the units that are old enough, {share[1.0]:.0%} of those with {plan.design.primary.name} "
            f"were not watched until the end of their window, but {share[0.0]:.0%} of those without; observed_at is "
            f"the moment until which a unit was watched, not the time of its outcome. Put the moment of the export "
            f"there."
        )
