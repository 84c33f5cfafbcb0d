"""Nothing after a lead's cut-off touches its features, whatever happens there.

The cut-off of a lead: ads rows of days after its day minus the lag, leads at or after its moment, outcomes recorded at
or after its moment, mappings of leads at or after its moment. What lies before counts as known, including the parents
of an ad in the hierarchy: they are taken from ads rows before the cut-off, and from no later one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elv_pipeline.lake import content_checksum
from elv_pipeline_tests.tables.world import LAG_DAYS, WINDOW_DAYS, Row, World, features, local_day, random_world

IDS = ("ad_id", "adset_id", "campaign_id")
NAMES = (None, "a", "a1", "a10", "a11", "b", "s", "s10", "c", "c1", "brand_new")
OPERATIONS = ("drop", "change", "add")
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(("ads", "leads", "outcomes", "mapping")),
        st.sampled_from(OPERATIONS),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=25,
)


@cache
def world_and_features(seed: int) -> tuple[World, pl.DataFrame]:
    """A world that many examples share, with its features."""
    world = random_world(seed, leads=45)
    return world, features(world)


def rewrite_future(world: World, lead: Row, mutations: list[tuple[str, str, int, int]]) -> World:
    """Apply the mutations to what the lead cannot know, and to nothing else."""
    for table, operation, target, salt in mutations:
        world = {"ads": _ads, "leads": _leads, "outcomes": _outcomes, "mapping": _mapping}[table](
            world, lead, operation, target, salt
        )
    return world


def _edit(rows: tuple[Row, ...], future: list[int], operation: str, target: int, fresh: dict[str, Any]) -> Any:
    """Drop or change one of the rows at the given places, or add one."""
    if operation == "add" or not future:
        return (*rows, fresh)
    place = future[target % len(future)]
    changed = () if operation == "drop" else ({**rows[place], **fresh},)
    return (*rows[:place], *changed, *rows[place + 1 :])


def _ids(salt: int) -> dict[str, Any]:
    return {column: NAMES[(salt // (i + 1)) % len(NAMES)] for i, column in enumerate(IDS)}


def _ads(world: World, lead: Row, operation: str, target: int, salt: int) -> World:
    last_known = lead["day"] - timedelta(days=LAG_DAYS)
    future = [i for i, row in enumerate(world.ads) if row["day"] > last_known]
    fresh = {
        "day": last_known + timedelta(days=1 + salt % 5),
        **_ids(salt),
        "impressions": salt % 1000,
        "clicks": salt % 100,
        "spend_micros": salt * 1000,
    }
    if salt % 2 and world.ads:  # an ad that earlier leads know turns up under other parents
        fresh["ad_id"] = world.ads[target % len(world.ads)]["ad_id"]
    return replace(world, ads=_edit(world.ads, future, operation, target, fresh))


def _leads(world: World, lead: Row, operation: str, target: int, salt: int) -> World:
    future = [
        i
        for i, row in enumerate(world.leads)
        if row["created_time"] >= lead["created_time"] and row["lead_id"] != lead["lead_id"]
    ]
    created = lead["created_time"] + timedelta(seconds=salt % 3 * 40_000, microseconds=salt % 2)
    fresh = {"created_time": created, "day": local_day(created), **_ids(salt)}
    if operation == "add" or not future:
        fresh["lead_id"] = f"N{len(world.leads)}_{len(world.outcomes)}_{salt}"
        if any(row["lead_id"] == fresh["lead_id"] for row in world.leads):
            return world
    return replace(world, leads=_edit(world.leads, future, operation, target, fresh))


def _outcomes(world: World, lead: Row, operation: str, target: int, salt: int) -> World:
    moment = lead["created_time"]
    future = [i for i, row in enumerate(world.outcomes) if row["recorded_time"] >= moment]
    standing = [i for i, row in enumerate(world.outcomes) if _stands(row, moment)]
    if operation == "edit" and standing and salt % 2:
        # Known by now, taken back later, or not at all.
        withdrawn = moment + timedelta(hours=salt % 3) if salt % 5 else None
        return replace(
            world, outcomes=_edit(world.outcomes, standing, operation, target, {"withdrawn_time": withdrawn})
        )
    recorded = moment + timedelta(hours=salt % 4 * 7)
    known = {row["lead_id"] for row in world.outcomes}
    silent = [row for row in world.leads if row["lead_id"] not in known]
    if operation == "add" or not future:
        if not silent:
            return world
        subject = silent[target % len(silent)]
        # Happened long before, within the window of an old lead, but nobody had written it down yet.
        happened = subject["created_time"] + timedelta(days=WINDOW_DAYS) * ((salt % 5) / 4)
        fresh = {"lead_id": subject["lead_id"], "qualified_time": happened, "recorded_time": recorded}
        return replace(world, outcomes=(*world.outcomes, fresh))
    fresh = {"recorded_time": recorded, "qualified_time": moment - timedelta(hours=salt % 200)}
    return replace(world, outcomes=_edit(world.outcomes, future, operation, target, fresh))


def _stands(row: dict[str, Any], moment: datetime) -> bool:
    withdrawn = row.get("withdrawn_time")
    return bool(row["recorded_time"] < moment) and (withdrawn is None or withdrawn >= moment)


def _mapping(world: World, lead: Row, operation: str, target: int, salt: int) -> World:
    later = {
        row["lead_id"]
        for row in world.leads
        if row["created_time"] >= lead["created_time"] and row["lead_id"] != lead["lead_id"]
    }
    future = [i for i, row in enumerate(world.mapping) if row["lead_id"] in later]
    if operation == "add" or not future:
        return world
    return replace(world, mapping=_edit(world.mapping, future, operation, target, _ids(salt)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 3), position=st.integers(0, 44), mutations=MUTATIONS)
def test_nothing_after_the_cut_off_changes_a_feature(
    seed: int, position: int, mutations: list[tuple[str, str, int, int]]
) -> None:
    world, before = world_and_features(seed)
    lead = sorted(world.leads, key=lambda row: (row["created_time"], row["lead_id"]))[position]
    after = features(rewrite_future(world, lead, mutations))
    # The lead itself and every earlier one: their cut-offs are not later than its own.
    unchanged = (pl.col("created_time") < lead["created_time"]) | (pl.col("lead_id") == lead["lead_id"])
    assert after.filter(unchanged).rows() == before.filter(unchanged).rows()


def overwrite_future(world: World, lead: Row) -> World:
    """All of the future at once, as close to the cut-off as it can come: every ad moved, every lead a success."""
    moment, first_unknown = lead["created_time"], lead["day"] - timedelta(days=LAG_DAYS) + timedelta(days=1)
    moved = {"day": first_unknown, "adset_id": "moved", "campaign_id": "moved", "clicks": 10**6}
    ads = [row for row in world.ads if row["day"] < first_unknown]
    ads += [{**world.ads[0], **moved, "ad_id": ad} for ad in ("a", "a1", "a10", "a11", "b", "absent")]
    ads += [{**world.ads[0], **moved, "adset_id": adset} for adset in ("s", "s1", "s10", "absent")]
    twins = [{**row, "lead_id": f"T{i}", "created_time": moment} for i, row in enumerate(world.leads)]
    past = {
        row["lead_id"]: {**row, "withdrawn_time": moment} if _stands(row, moment) else row
        for row in world.outcomes
        if row["recorded_time"] < moment
    }
    leads = [row for row in world.leads if row["created_time"] < moment or row["lead_id"] == lead["lead_id"]]
    fresh = [
        {"lead_id": row["lead_id"], "qualified_time": row["created_time"], "recorded_time": moment}
        for row in (*leads, *twins)
        if row["lead_id"] not in past
    ]
    outcomes = (*past.values(), *fresh)
    placement = [row for row in world.placement if row["day"] < first_unknown]
    placement += [{**row, "day": first_unknown, "spend_micros": 10**12} for row in world.placement[:20]]
    return replace(
        world,
        ads=tuple(ads),
        leads=(*leads, *twins),
        outcomes=outcomes,
        placement=tuple({(r["day"], r["ad_id"], r["placement"]): r for r in placement}.values()),
        targeting=_rewritten(world.targeting, moment, "audience_keywords"),
        creatives=_rewritten(world.creatives, moment, "creative_type"),
    )


def _rewritten(rows: tuple[dict[str, Any], ...], moment: datetime, column: str) -> tuple[dict[str, Any], ...]:
    """Properties that were known stay; each is restated a microsecond later, in the past tense and in the present."""
    known = [row for row in rows if all(row[t] is None or row[t] <= moment for t in ("valid_from", "recorded_at"))]
    later = moment + timedelta(microseconds=1)
    fresh = [
        {**row, column: "from the future", "recorded_at": later, "valid_from": since}
        for row in rows
        for since in (None, moment, later)
    ]
    return (*known, *fresh)


@pytest.mark.parametrize("seed", [0, 3])
def test_overwriting_everything_after_the_cut_off_changes_no_feature(seed: int) -> None:
    world, before = world_and_features(seed)
    for lead in world.leads[1::4]:
        mine = pl.col("lead_id") == lead["lead_id"]
        after = features(overwrite_future(world, lead))
        assert after.filter(mine).rows() == before.filter(mine).rows()


@pytest.mark.parametrize("seed", [0, 3])
def test_deleting_everything_after_the_cut_off_changes_no_feature(seed: int) -> None:
    world, before = world_and_features(seed)
    for lead in world.leads[::5]:
        moment, last_known = lead["created_time"], lead["day"] - timedelta(days=LAG_DAYS)
        past = replace(
            world,
            ads=tuple(row for row in world.ads if row["day"] <= last_known),
            leads=tuple(r for r in world.leads if r["created_time"] < moment or r["lead_id"] == lead["lead_id"]),
            outcomes=tuple(row for row in world.outcomes if row["recorded_time"] < moment),
        )
        known = {row["lead_id"] for row in past.leads}
        past = replace(past, mapping=tuple(row for row in world.mapping if row["lead_id"] in known))
        mine = pl.col("lead_id") == lead["lead_id"]
        assert content_checksum(features(past).filter(mine)) == content_checksum(before.filter(mine))


def test_what_is_just_before_the_cut_off_does_change_features() -> None:
    """The counterpart: without it the tests above would pass on features that read nothing at all."""
    world, before = world_and_features(1)
    changed = dict.fromkeys(("ads", "leads", "outcomes", "parents"), 0)
    for lead in world.leads:
        moment, last_known = lead["created_time"], lead["day"] - timedelta(days=LAG_DAYS)
        newest = [{**row, "clicks": row["clicks"] + 1} if row["day"] == last_known else row for row in world.ads]
        moved = [{**row, "campaign_id": "moved"} if row["day"] == last_known else row for row in world.ads]
        just_before = {**lead, "lead_id": "N", "created_time": moment - timedelta(milliseconds=1)}
        recorded = [
            {**row, "recorded_time": moment - timedelta(milliseconds=1)} if row["recorded_time"] >= moment else row
            for row in world.outcomes
        ]
        variants = {
            "ads": replace(world, ads=tuple(newest)),
            "parents": replace(world, ads=tuple(moved)),
            "leads": replace(world, leads=(*world.leads, just_before)),
            "outcomes": replace(world, outcomes=tuple(recorded)),
        }
        mine = pl.col("lead_id") == lead["lead_id"]
        for name, variant in variants.items():
            changed[name] += features(variant).filter(mine).rows() != before.filter(mine).rows()
        if all(changed.values()):
            break
    assert all(changed.values()), changed
