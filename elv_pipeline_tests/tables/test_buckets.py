"""The plan computed part by part, without any cluster: the same table, bit for bit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elv_pipeline.errors import ContractError
from elv_pipeline.lake import content_checksum
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.spec import ScoringProblem
from elv_pipeline.tables.buckets import FeaturePlan, assign_buckets, stage_inputs
from elv_pipeline.tables.features import FeatureInputs
from elv_pipeline.tables.joins import ID_COLUMNS
from elv_pipeline.tables.parts import PartedPlan
from elv_pipeline_tests.tables.world import (
    ADS_SCHEMA,
    JOINED_SCHEMA,
    LAG_DAYS,
    MEASURES,
    PROBLEM,
    RICH,
    UTC_TIME,
    ZONE,
    Row,
    World,
    frame,
    joined_leads,
    random_world,
    with_outcomes,
)


def plan_of(world: World, problem: ScoringProblem = PROBLEM, *, outcomes: bool = True) -> FeaturePlan:
    data = RICH if outcomes else replace(RICH, has_outcomes=False)
    log = world.log if outcomes else None
    return FeaturePlan(problem=problem, data=data, lag_days=LAG_DAYS, log=log, timezone=ZONE)


def inputs_of(world: World, problem: ScoringProblem = PROBLEM, *, joined: pl.DataFrame | None = None) -> FeatureInputs:
    joined = joined_leads(world, problem=problem) if joined is None else joined
    history = with_outcomes(joined, world)
    oldest = history["created_time"].min() or datetime.combine(date(2024, 3, 15), time(), UTC)
    assert isinstance(oldest, datetime)
    return FeatureInputs(
        leads=joined.lazy(),
        ads=frame(world.ads, ADS_SCHEMA).lazy(),
        history=history.lazy(),
        base=oldest,
        changes=changes_of(world).lazy(),
        ads_placement_changes=placement_changes_of(world).lazy(),
        **world.enrichments(),
    )


def changes_of(world: World) -> pl.DataFrame:
    """Restatements of every third ads row, up and down, recorded while the leads come in."""
    return _restated(world, world.ads[::3], ids=("ad_id", "adset_id", "campaign_id"))


def placement_changes_of(world: World) -> pl.DataFrame:
    """Restatements of every second placement row, some of them of a placement that no first figure has."""
    rows = [{**row, "placement": "late"} if at % 5 == 0 else row for at, row in enumerate(world.placement[::2])]
    return _restated(world, rows, ids=("ad_id", "placement"))


def _restated(world: World, rows: Sequence[Row], *, ids: tuple[str, ...]) -> pl.DataFrame:
    moments = sorted(lead["created_time"] for lead in world.leads) or [datetime.combine(date(2024, 3, 15), time(), UTC)]
    changes = [
        {
            **{column: row[column] for column in ("day", *ids)},
            "recorded_time": moments[number * 7 % len(moments)],
            **{measure: (number % 5 - 2) * 100 for measure in MEASURES},
        }
        for number, row in enumerate(rows)
    ]
    schema = {"recorded_time": UTC_TIME, "day": pl.Date, **dict.fromkeys(ids, pl.String), **MEASURES}
    return frame(changes, schema)


def part_by_part(inputs: FeatureInputs, plan: FeaturePlan, *, buckets: int, folder: Path) -> pl.DataFrame:
    """What an engine does, in a loop and in an unusual order."""
    staged = stage_inputs(inputs, plan, buckets=buckets, folder=folder / "inputs")
    parted = PartedPlan(plan=plan, staged=staged, folder=folder / "results", chunks=buckets)
    for kind, number in [*parted.first_parts()[::-1], *parted.last_parts()[::-1]]:
        parted.compute(kind, number)
    return parted.table().collect()


@pytest.mark.parametrize(("seed", "buckets"), [(0, 1), (1, 2), (2, 3), (0, 13)])
def test_the_parts_together_are_the_whole_table_bit_for_bit(seed: int, buckets: int, tmp_path: Path) -> None:
    world = random_world(seed, leads=80, days=60)
    inputs, plan = inputs_of(world), plan_of(world)
    whole = plan.table(inputs).collect()
    parts = part_by_part(inputs, plan, buckets=buckets, folder=tmp_path / "staged")
    assert parts.equals(whole)
    assert content_checksum(parts) == content_checksum(whole)
    assert parts.schema == whole.schema


def test_the_same_for_the_real_problem_over_several_stretches_of_days(tmp_path: Path) -> None:
    world = random_world(5, leads=400, days=500, window_days=14)
    inputs, plan = inputs_of(world, LEAD_ADS), plan_of(world, LEAD_ADS)
    whole = plan.table(inputs).collect()
    assert part_by_part(inputs, plan, buckets=6, folder=tmp_path / "staged").equals(whole)
    staged = stage_inputs(inputs, plan, buckets=6, folder=tmp_path / "again")
    assert len(staged.stretches) > 2
    assert all((s.last - s.first).days + 1 <= 250 for s in staged.stretches)
    first = staged.stretches[-1]
    shortened = replace(first, history_from=first.history_from + timedelta(days=30))
    cut = replace(staged, stretches=(*staged.stretches[:-1], shortened))
    number = len(staged.stretches) - 1
    tables = [plan.over_time().table(found.stretch(number)).collect() for found in (staged, cut)]
    assert not tables[0].equals(tables[1]), "the comparison would not notice missing history"


def test_the_same_without_outcomes_and_without_ads(tmp_path: Path) -> None:
    world = random_world(4)
    without_ads = replace(inputs_of(world), ads=None, changes=None)
    no_outcomes = plan_of(world, outcomes=False)
    neither = replace(no_outcomes, data=replace(no_outcomes.data, has_ads=False))
    for number, (inputs, plan) in enumerate([(inputs_of(world), no_outcomes), (without_ads, neither)]):
        whole = plan.table(inputs).collect()
        assert part_by_part(inputs, plan, buckets=3, folder=tmp_path / str(number)).equals(whole)


IDS = [None, "a", "b", "c", "a1", "0", "ä/ö", " a", ""]
"""Few values on purpose: they contradict one another, and one value stands at several levels."""


def contradictory(world: World, draw: Callable[[], dict[str, str | None]]) -> tuple[World, pl.DataFrame]:
    """The world with unrelated ids: any ad under any campaign, under several, or under none."""
    ads = tuple(row | draw() for row in world.ads[:30])
    leads = [{**lead, **draw(), "join_method": "ad_id"} for lead in world.leads]
    return replace(world, ads=ads), frame(leads, JOINED_SCHEMA)


@pytest.mark.parametrize("seed", [0, 1])
def test_ids_that_contradict_each_other_change_nothing(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)

    def pick() -> dict[str, str | None]:
        return {column: IDS[int(rng.integers(len(IDS)))] for column in ID_COLUMNS}

    world, joined = contradictory(random_world(seed, leads=25, days=20), pick)
    inputs, plan = inputs_of(world, joined=joined), plan_of(world)
    assert part_by_part(inputs, plan, buckets=4, folder=tmp_path).equals(plan.table(inputs).collect())


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_ids_contradict_each_other_nothing_changes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids = st.fixed_dictionaries({column: st.sampled_from(IDS) for column in ID_COLUMNS})
    calm = random_world(data.draw(st.integers(0, 3)), leads=data.draw(st.integers(1, 25)), days=20)
    world, joined = contradictory(calm, lambda: data.draw(ids))
    inputs, plan = inputs_of(world, joined=joined), plan_of(world)
    folder = tmp_path_factory.mktemp("staged")
    parts = part_by_part(inputs, plan, buckets=data.draw(st.sampled_from([1, 2, 5])), folder=folder)
    assert parts.equals(plan.table(inputs).collect())


def rows_of(*ids: tuple[str | None, str | None, str | None], lead: bool = False) -> pl.LazyFrame:
    columns = dict(zip(("ad_id", "adset_id", "campaign_id"), zip(*ids, strict=True), strict=True))
    table = pl.DataFrame(columns, schema={name: pl.String for name in columns})
    return (table.with_row_index("lead_id").cast({"lead_id": pl.String}) if lead else table).lazy()


def buckets_of(assigned: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(level, name): bucket for level, name, bucket in assigned.iter_rows()}


def test_ids_linked_by_any_chain_of_rows_share_a_bucket_and_others_do_not() -> None:
    ads = rows_of(("a", "s", "c"), ("b", "s2", "d"), ("x", "y", "z"), ("c", None, None))
    leads = rows_of(("a", None, "d"), (None, None, None), (None, "s9", None), lead=True)
    found = buckets_of(assign_buckets([ads, leads], buckets=50))
    linked = {found["ad_id", "a"], found["campaign_id", "c"], found["campaign_id", "d"], found["ad_id", "b"]}
    assert len(linked) == 1, "the lead of ad a and campaign d links both campaigns"
    assert len({*linked, found["ad_id", "x"], found["adset_id", "s9"], found["ad_id", "c"]}) == 4
    assert found["ad_id", "c"] != found["campaign_id", "c"], "equal names at two levels are two ids"


def test_the_same_rows_in_another_order_are_dealt_alike_and_evenly() -> None:
    rows = [(f"ad{n}", f"set{n // 3}", f"campaign{n // 9}") for n in range(200) for _ in range(1 + 40 // (1 + n))]
    forward, backward = (buckets_of(assign_buckets([rows_of(*order)], buckets=4)) for order in (rows, rows[::-1]))
    assert forward == backward
    loads = pl.Series([forward["ad_id", ad] for ad, _, _ in rows]).value_counts()["count"]
    assert loads.len() == 4
    assert loads.max() <= 1.6 * loads.mean()  # type: ignore[operator]


def test_no_row_is_staged_twice_and_rows_that_no_lead_can_reach_are_not_staged(tmp_path: Path) -> None:
    world = random_world(2, leads=50)
    inputs = inputs_of(world)
    lost = {**world.ads[0], "ad_id": None, "adset_id": None, "campaign_id": None}
    inputs = replace(inputs, ads=frame([*world.ads, lost], ADS_SCHEMA).lazy())
    staged = stage_inputs(inputs, plan_of(world), buckets=5, folder=tmp_path / "staged")
    rows = {name: pl.scan_parquet(f"{tmp_path}/staged/{name}/*.parquet").collect() for name in ("ads", "leads")}
    assert rows["ads"].sort(pl.all()).equals(frame(world.ads, ADS_SCHEMA).sort(pl.all()))
    assert rows["leads"].height == 50
    delivery = {"ads", "changes", "ads_placement", "ads_placement_changes"}
    assert staged.split == {"leads", *delivery, "adset_targeting", "ad_creatives"}


def test_leads_without_any_id_are_spread_by_a_digest_that_never_changes(tmp_path: Path) -> None:
    world = random_world(0, leads=40)
    nothing = joined_leads(world).with_columns(
        pl.lit(None, pl.String).alias(c) for c in ("ad_id", "adset_id", "campaign_id")
    )
    staged = stage_inputs(inputs_of(world, joined=nothing), plan_of(world), buckets=4, folder=tmp_path / "staged")
    assert staged.buckets == (0, 1, 2, 3)
    for bucket in staged.buckets:
        leads = staged.bucket(bucket).leads.collect()["lead_id"].to_list()
        assert {zlib.crc32(lead.encode()) % 4 for lead in leads} == {bucket}


def test_a_lead_that_stands_twice_is_refused_where_no_part_would_notice(tmp_path: Path) -> None:
    world = random_world(1, leads=5)
    joined = joined_leads(world)
    twice = pl.concat([joined, joined.head(1).with_columns(pl.lit("elsewhere").alias("campaign_id"))])
    with pytest.raises(ContractError, match=r"joined_leads: lead L\d stands 2 times"):
        stage_inputs(
            replace(inputs_of(world), leads=twice.lazy()), plan_of(world), buckets=2, folder=tmp_path / "staged"
        )
    assert not (tmp_path / "staged").exists()


def test_no_leads_are_no_parts_and_an_empty_table_of_the_same_schema(tmp_path: Path) -> None:
    world = replace(random_world(1), leads=(), outcomes=(), mapping=())
    inputs, plan = inputs_of(world), plan_of(world)
    staged = stage_inputs(inputs, plan, buckets=2, folder=tmp_path / "staged")
    parted = PartedPlan(plan=plan, staged=staged, folder=tmp_path / "results", chunks=2)
    assert parted.first_parts() == parted.last_parts() == []
    assert parted.table().collect().equals(plan.table(inputs).collect())


def test_a_part_that_is_computed_twice_is_the_same_once(tmp_path: Path) -> None:
    world = random_world(3, leads=60, days=40)
    inputs, plan = inputs_of(world), plan_of(world)
    staged = stage_inputs(inputs, plan, buckets=3, folder=tmp_path / "inputs")
    parted = PartedPlan(plan=plan, staged=staged, folder=tmp_path / "results", chunks=3)
    for kind, number in [part for part in [*parted.first_parts(), *parted.last_parts()] for _ in range(2)]:
        parted.compute(kind, number)
    assert parted.table().collect().equals(plan.table(inputs).collect())
    expected = {f"{kind}-{number:05d}" for kind, number in [*parted.first_parts(), *parted.last_parts()]}
    assert {entry.name for entry in (tmp_path / "results").iterdir()} == expected


def test_a_part_that_fails_leaves_nothing_that_could_pass_for_a_result(tmp_path: Path) -> None:
    world = random_world(3)
    inputs, plan = inputs_of(world), plan_of(world)
    staged = stage_inputs(inputs, plan, buckets=2, folder=tmp_path / "inputs")
    (tmp_path / "inputs" / "history.parquet").unlink()
    parted = PartedPlan(plan=plan, staged=staged, folder=tmp_path / "results", chunks=2)
    with pytest.raises(OSError, match=r"history\.parquet"):
        parted.compute("stretch", 0)
    assert list((tmp_path / "results").iterdir()) == []
