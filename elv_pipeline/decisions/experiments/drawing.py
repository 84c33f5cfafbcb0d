"""Drawing the arms of a file of units, for a tool that cannot compute the hash itself.

Belongs here: reading units and giving each its arm. Does not belong here: the hash (``allocation.py``), or results.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from elv_pipeline.contracts.messages import violation
from elv_pipeline.decisions.experiments.allocation import ARMS, Balance, assigned, balance
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline.ingest.parsing.formats import read_any
from elv_pipeline.ingest.parsing.text_table import Layout

_ROW = "source_row"


def drawn(path: Path, plan: ExperimentPlan) -> pl.DataFrame:
    """Read units and give each its arm.

    Args:
        path: CSV, Excel or Parquet with ``unit_id``, with ``cluster_id`` where the plan draws clusters, and optionally
            ``stratum``, such as the channel. Other columns are not read.
        plan: the plan, whose salt decides.

    Returns:
        The columns that were read and ``arm``, in the order of the file.

    Raises:
        ConfigError: the plan says that another tool draws.
        ContractError: a column is missing, an id is empty, or a unit occurs twice.
    """
    if plan.design.allocation.method != "hash":
        raise ConfigError(
            f"{plan.design.name}: the plan says that another tool draws (allocation.method: elsewhere). Take the arms "
            f"from there, or plan anew with method: hash."
        )
    key = "unit_id" if plan.design.cluster is None else "cluster_id"
    needed = tuple(dict.fromkeys(("unit_id", key)))

    def choose(header: list[str]) -> Layout:
        missing = [name for name in needed if name not in header]
        if missing:
            raise ContractError(f"{path.name}: column {', '.join(missing)} is missing. Name the ids so.")
        known = [name for name in (*needed, "stratum") if name in header]
        return Layout(position={name: header.index(name) for name in known}, dropped=())

    units = read_any(path, choose=choose, name="units", decimal=".", allow_no_rows=False).frame
    for name in needed:
        _refuse(units.filter(pl.col(name).is_null()), column=name, place=path.name, rule="it must not be empty")
    twice = units.filter(pl.col("unit_id").is_duplicated())
    _refuse(twice, column="unit_id", place=path.name, rule="each unit is one row")
    found = units.with_columns(arm=assigned(units[key].cast(pl.String), allocation=plan.design.allocation))
    return found.sort(_ROW).drop(_ROW)


def drawn_lines(found: pl.DataFrame, plan: ExperimentPlan) -> list[str]:
    """How many units each arm has, and whether each stratum got its share."""
    counts = {arm: found.filter(pl.col("arm") == arm).height for arm in ARMS}
    lines = [", ".join(f"{arm}: {count:,}" for arm, count in counts.items()) + "."]
    if "stratum" in found.columns and plan.design.cluster is None:
        strata = found["stratum"].fill_null("(none)").to_list()
        share = plan.design.allocation.treatment_share
        lines.append(_balance_line(balance(strata, found["arm"].to_list(), treatment_share=share)))
    return lines


def _balance_line(found: Balance) -> str:
    verdict = "within what chance allows" if found.p_value >= 0.001 else "further off than chance allows: check the ids"
    return (
        f"Strata are {verdict} (p = {found.p_value:.2g}); furthest off is {found.worst}: {found.treated:.0%} of "
        f"{found.units:,} units are treated."
    )


def _refuse(bad: pl.DataFrame, *, column: str, place: str, rule: str) -> None:
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
            remedy="Correct the file; nothing was written.",
            about_people=True,
        )
    )
