"""The whole feature table: against the reference, alone or in a range, in any row order and with any thread count."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ContractError
from elv_pipeline.lake import content_checksum
from elv_pipeline.problems.feature_specs import HashedTokens, KnownAttribute, Mix, OutcomeHistory, WindowSum
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.world import (
    ADS_SCHEMA,
    DATA,
    LAG_DAYS,
    LEVELS,
    PROBLEM,
    RICH,
    WINDOW_DAYS,
    ZONE,
    World,
    compiled,
    features,
    frame,
    joined_leads,
    random_world,
    with_outcomes,
)


def expected_features(world: World) -> dict[str, dict[str, Any]]:
    """Every row of the feature table by lead, computed lead by lead from the rows of the exports."""
    joined = [
        reference.join_lead(
            lead,
            ads=world.ads,
            mapping=world.mapping,
            lag_days=LAG_DAYS,
            lookback_days=PROBLEM.hierarchy_lookback_days,
        )
        for lead in world.leads
    ]
    outcomes = {row["lead_id"]: row for row in world.outcomes}
    history = [
        {
            **row,
            "outcome_time": outcomes.get(row["lead_id"], {}).get("qualified_time"),
            "outcome_recorded_time": outcomes.get(row["lead_id"], {}).get("recorded_time"),
            "outcome_withdrawn_time": outcomes.get(row["lead_id"], {}).get("withdrawn_time"),
            "outcome_observed": row["lead_id"] not in world.unobserved,
        }
        for row in joined
    ]
    return {row["lead_id"]: row | _expected_columns(row, history, world) for row in joined}


def _expected_columns(row: dict[str, Any], history: list[dict[str, Any]], world: World) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for spec in PROBLEM.features:
        if isinstance(spec, WindowSum):
            for level in LEVELS:
                columns |= reference.window_features(row, ads=world.ads, spec=spec, level=level, lag_days=LAG_DAYS)
        if isinstance(spec, Mix):
            for level in LEVELS:
                columns |= reference.mix_features(
                    row, breakdown=world.placement, ads=world.ads, spec=spec, level=level, lag_days=LAG_DAYS
                )
        if isinstance(spec, KnownAttribute):
            columns |= reference.known_category(row, world.creatives, spec=spec)
        if isinstance(spec, HashedTokens):
            columns |= reference.token_features(row, world.targeting, spec=spec)
        if isinstance(spec, OutcomeHistory):
            columns |= reference.history_features(row, history=history, spec=spec, levels=LEVELS, log=world.log)
    own = {"category_campaign_id": row["campaign_id"], "category_platform": row["platform"]}
    return columns | reference.calendar_features(row, timezone=ZONE) | own


@pytest.mark.parametrize("seed", range(8))
def test_compiled_plan_equals_the_reference_exactly(seed: int) -> None:
    world = random_world(seed)
    expected = expected_features(world)
    # "auto" runs in memory here; the assets stream.
    for engine in ("in-memory", "streaming"):
        table = features(world, engine=engine)
        assert table.height == len(world.leads)
        for row in table.iter_rows(named=True):
            wanted = expected[row["lead_id"]]
            assert row == {name: wanted[name] for name in row}


def test_random_worlds_reach_the_edges_they_are_meant_to_reach() -> None:
    worlds = [random_world(seed) for seed in range(8)]
    tables = pl.concat([features(world) for world in worlds])
    assert set(tables["join_method"]) == {"ad_id", "adset_id", "campaign_id", "map", "none"}
    assert tables["ad_id"].is_in(["absent"]).any()
    assert tables["ad_qualified_rate_9d"].is_between(0, 1, closed="none").any()
    assert tables["ad_clicks_trend_3d"].is_between(-1, 1, closed="none").any()
    moments = [lead["created_time"] for world in worlds for lead in world.leads]
    assert len(set(moments)) < len(moments)
    ends = {lead["lead_id"]: lead["created_time"] + timedelta(days=WINDOW_DAYS) for lead in worlds[0].leads}
    assert any(row["qualified_time"] == ends[row["lead_id"]] for row in worlds[0].outcomes)
    assert any(row["recorded_time"] > ends[row["lead_id"]] >= row["qualified_time"] for row in worlds[0].outcomes)


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_is_never_outside_zero_and_one(seed: int) -> None:
    table = features(random_world(seed, leads=150))
    for column in (name for name in table.columns if "qualified_rate" in name):
        assert table[column].drop_nulls().is_between(0, 1).all(), column


def alone(
    world: World, joined: pl.DataFrame, day: date, *, problem: ScoringProblem, window_days: int, shorten: int = 0
) -> pl.DataFrame:
    """Features of one day from nothing but its history window, read as the asset reads it."""
    first = day - timedelta(days=problem.history_days(outcome_window_days=window_days, lag_days=LAG_DAYS) - shorten)
    ads = frame([row for row in world.ads if first <= row["day"] <= day], ADS_SCHEMA)
    leads = [lead for lead in world.leads if lead["day"] == day]
    return compiled(
        joined_leads(world, leads=leads, ads=ads, problem=problem),
        ads=ads,
        history=with_outcomes(joined.filter(pl.col("day").is_between(first, day)), world),
        log=world.log,
        problem=problem,
        data=RICH,
        enrichments={name: table.filter(_not_before(table, first)) for name, table in world.enrichments().items()},
    ).collect()


def _not_before(table: pl.LazyFrame, first: date) -> pl.Expr:
    """Rows that the asset would read: breakdowns from the history's start, properties all of them."""
    return pl.col("day") >= first if "day" in table.collect_schema() else pl.lit(True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_day_alone_equals_the_same_day_inside_a_range(seed: int) -> None:
    world = random_world(seed, leads=50)
    inside, joined = features(world), joined_leads(world)
    for day in inside["day"].unique().sort().to_list()[::3]:
        expected = content_checksum(inside.filter(pl.col("day") == day))
        single = alone(world, joined, day, problem=PROBLEM, window_days=WINDOW_DAYS)
        assert content_checksum(single) == expected, day


def test_a_day_alone_equals_the_range_for_the_real_problem() -> None:
    world = random_world(5, leads=150, days=150, window_days=14)
    inside, joined = features(world, problem=LEAD_ADS), joined_leads(world, problem=LEAD_ADS)
    days: list[date] = inside["day"].unique().sort().to_list()
    assert days[-1] - days[0] > timedelta(days=105)
    for day in days[-40::8]:
        expected = content_checksum(inside.filter(pl.col("day") == day))
        single = alone(world, joined, day, problem=LEAD_ADS, window_days=14)
        assert content_checksum(single) == expected, day


def test_a_history_window_shorter_than_declared_would_change_features() -> None:
    world = random_world(2, leads=80)
    inside, joined = features(world), joined_leads(world)
    days = inside["day"].unique().sort(descending=True).to_list()

    def differs(day: date) -> bool:
        single = alone(world, joined, day, problem=PROBLEM, window_days=WINDOW_DAYS, shorten=3)
        return content_checksum(single) != content_checksum(inside.filter(pl.col("day") == day))

    assert any(differs(day) for day in days), "the comparison above would not notice missing history"


def test_a_single_lead_alone_has_the_same_last_digit_of_spend() -> None:
    # Polars divides a single row by a constant and multiplies many rows with the reciprocal: 0.29 against 0.28999...
    world = random_world(3, leads=120)
    together = features(world)
    history = with_outcomes(joined_leads(world), world)
    for lead in world.leads[:8]:
        joined = joined_leads(world, leads=[lead])
        ads, more = frame(world.ads, ADS_SCHEMA), world.enrichments()
        single = compiled(joined, ads=ads, history=history, log=world.log, data=RICH, enrichments=more).collect()
        assert single.equals(together.filter(pl.col("lead_id") == lead["lead_id"]))


def test_row_order_of_every_input_changes_nothing() -> None:
    world = random_world(4, leads=120)
    expected = content_checksum(features(world))
    rng = np.random.default_rng(0)
    for _ in range(4):
        shuffled = World(
            ads=tuple(world.ads[i] for i in rng.permutation(len(world.ads))),
            placement=tuple(world.placement[i] for i in rng.permutation(len(world.placement))),
            targeting=tuple(world.targeting[i] for i in rng.permutation(len(world.targeting))),
            creatives=tuple(world.creatives[i] for i in rng.permutation(len(world.creatives))),
            leads=tuple(world.leads[i] for i in rng.permutation(len(world.leads))),
            outcomes=tuple(world.outcomes[i] for i in rng.permutation(len(world.outcomes))),
            mapping=tuple(world.mapping[i] for i in rng.permutation(len(world.mapping))),
            unobserved=world.unobserved,
            log=world.log,
        )
        assert content_checksum(features(shuffled)) == expected
        joined = joined_leads(world).sample(fraction=1, shuffle=True, seed=int(rng.integers(100)))
        ads, history = frame(shuffled.ads, ADS_SCHEMA), with_outcomes(joined, world).reverse()
        more = shuffled.enrichments()
        again = compiled(joined, ads=ads, history=history, log=world.log, data=RICH, enrichments=more).collect()
        assert content_checksum(again) == expected


PRINT_CHECKSUMS = """
import hashlib, sys, polars as pl
from pathlib import Path
from elv_pipeline.lake import Lake, content_checksum
from elv_pipeline_tests.tables.world import features, random_world
assert pl.thread_pool_size() == int(sys.argv[1])
world = random_world(6, leads=1500)
table = features(world, engine="streaming")
lake, days = Lake(Path(sys.argv[2])), sorted(table["day"].unique())
lake.write_days("features", table, days=days)
stored = hashlib.sha256(b"".join(lake.partition("features", day).read_bytes() for day in days))
print(content_checksum(table), stored.hexdigest())
"""


def test_thread_count_changes_neither_the_table_nor_the_bytes_of_its_files(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_CHECKSUMS, threads, str(tmp_path / threads)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "POLARS_MAX_THREADS": threads, "POLARS_IDEAL_MORSEL_SIZE": morsel},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads, morsel in (("1", "100000"), ("2", "64"))
    ]
    single, double = (run.communicate(timeout=60)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert single == double
    assert len(single.split()) == 2


@pytest.mark.parametrize("has_ads", [True, False])
@pytest.mark.parametrize("has_outcomes", [True, False])
@pytest.mark.parametrize("id_columns", [(), ("campaign_id",), ("ad_id", "adset_id", "campaign_id")])
def test_columns_are_the_declared_ones_for_whatever_data_exist(
    has_ads: bool, has_outcomes: bool, id_columns: tuple[str, ...]
) -> None:
    world = random_world(7, leads=20)
    data = DataAtHand(has_ads=has_ads, has_outcomes=has_outcomes, id_columns=id_columns)
    joined = joined_leads(world)
    table = compiled(
        joined,
        ads=frame(world.ads, ADS_SCHEMA) if has_ads else None,
        history=with_outcomes(joined, world),
        log=world.log if has_outcomes else None,
        data=data,
    ).collect()
    declared = PROBLEM.feature_columns(data, lag_days=LAG_DAYS)
    assert table.columns[7:] == [column.name for column in declared]
    assert table.height == 20
    for column in declared:
        assert table.schema[column.name].is_numeric() == (column.kind == "numeric"), column.name
    # Without outcomes the rates are there and empty: a model trained where outcomes exist can still score.
    rates = [column for column in table.get_columns() if "qualified_rate" in column.name]
    assert rates
    assert any(column.null_count() < table.height for column in rates) == has_outcomes
    assert any("spend" in name for name in table.columns) == (has_ads and bool(id_columns))


def test_no_leads_give_an_empty_table_of_the_same_schema() -> None:
    world = random_world(1)
    empty = replace(world, leads=(), outcomes=(), mapping=())
    assert features(empty).schema == features(world).schema
    assert features(empty).height == 0


def test_a_lead_listed_twice_is_refused_not_multiplied() -> None:
    world = random_world(1, leads=5)
    joined = joined_leads(world)
    twice = pl.concat([joined, joined.head(1)])
    with pytest.raises(ContractError, match=f"lead {joined['lead_id'][0]} stands more than once"):
        compiled(
            twice,
            ads=frame(world.ads, ADS_SCHEMA),
            history=with_outcomes(joined, world),
            log=world.log,
            data=DATA,
        ).collect()


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_part_of_the_plan_is_that_part_of_the_table(engine: Any) -> None:
    world = random_world(3)
    joined, table = joined_leads(world), features(world)
    plan = compiled(
        joined,
        ads=frame(world.ads, ADS_SCHEMA),
        history=with_outcomes(joined, world),
        log=world.log,
        data=RICH,
        enrichments=world.enrichments(),
    )
    some = pl.col("join_method") == "ad_id"
    columns = ["lead_id", "ad_clicks_3d"]
    assert plan.head(7).collect(engine=engine).equals(table.head(7))
    assert plan.filter(some).select(columns).collect(engine=engine).equals(table.filter(some).select(columns))
    assert plan.collect_schema() == table.schema
