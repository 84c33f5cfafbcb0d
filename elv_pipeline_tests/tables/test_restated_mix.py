"""Restated breakdowns: the mix is that of the figures known at each lead's moment, against brute force."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.problems.feature_specs import Mix
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.spec import DataAtHand
from elv_pipeline.tables.features import FeatureInputs, feature_table
from elv_pipeline.tables.restatements import LOAD, latest, split_versions

MEASURES = ("impressions", "clicks", "spend_micros")
IDS = ("ad_id", "placement")
FIRST = datetime(2025, 3, 1, tzinfo=UTC)
DATA = DataAtHand(
    has_ads=True,
    has_outcomes=False,
    id_columns=("ad_id", "adset_id", "campaign_id"),
    enrichments=frozenset({"ads_placement"}),
)

MIXES = replace(LEAD_ADS, features=tuple(found for found in LEAD_ADS.features if isinstance(found, Mix)))
"""Nothing but what is looked at here: each lead is computed alone, with a plan of its own."""


def day(offset: int) -> date:
    return (FIRST + timedelta(days=offset)).date()


def versions(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """First figures and changes; later loads restate, drop and add placements."""
    rng = np.random.default_rng(seed)
    recorded = sorted(FIRST + timedelta(days=float(at)) for at in rng.uniform(6, 40, size=5))
    rows: list[dict[str, Any]] = []
    for load, at in enumerate(recorded):
        reach = (at - FIRST).days
        names = ["feed", "story", "reels"][: 2 + (load > 1)]
        rows += [
            {"day": day(offset), "ad_id": f"A{ad}", "placement": name, LOAD: load}
            | dict(zip(MEASURES, (int(figure) for figure in rng.integers(0, 10**7, 3)), strict=True))
            for offset in range(max(0, reach - 10), reach)
            for ad in range(4)
            for name in names
            if rng.random() < 0.8
        ]
    frame = pl.DataFrame(rows, schema_overrides={LOAD: pl.Int64})
    base = frame.group_by("day", "ad_id").agg(pl.col(LOAD).min())
    times = pl.DataFrame({LOAD: range(len(recorded)), "recorded_time": recorded})
    changes = split_versions(frame, base=base, measures=MEASURES, ids=IDS).join(times, on=LOAD).drop(LOAD)
    return frame.join(base, on=["day", "ad_id", LOAD], how="semi").drop(LOAD), changes


def leads(seed: int, count: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(seed + 50)
    created = [FIRST + timedelta(days=float(at)) for at in rng.uniform(5, 45, count)]
    ads = rng.integers(0, 4, count)
    return pl.DataFrame(
        {
            "lead_id": [f"L{number}" for number in range(count)],
            "created_time": created,
            "day": [moment.date() for moment in created],
            "ad_id": [f"A{ad}" for ad in ads],
            "adset_id": [f"S{ad // 2}" for ad in ads],
            "campaign_id": ["C"] * count,
            "join_method": ["ids"] * count,
        }
    ).with_columns(pl.lit(None, pl.String).alias("platform"))


def ads() -> pl.DataFrame:
    rows = [
        {"day": day(offset), "ad_id": f"A{ad}", "adset_id": f"S{ad // 2}", "campaign_id": "C"}
        | dict.fromkeys(MEASURES, 1)
        for offset in range(46)
        for ad in range(4)
    ]
    return pl.DataFrame(rows)


def features(rows: pl.DataFrame, placement: pl.DataFrame, changes: pl.DataFrame | None) -> pl.DataFrame:
    history = rows.select("lead_id", "created_time", "ad_id", "adset_id", "campaign_id")
    inputs = FeatureInputs(
        leads=rows.lazy(),
        ads=ads().lazy(),
        history=history.lazy(),
        base=FIRST - timedelta(days=90),
        ads_placement=placement.lazy(),
        ads_placement_changes=None if changes is None else changes.lazy(),
    )
    table = feature_table(inputs, problem=MIXES, data=DATA, lag_days=1, log=None, timezone="UTC")
    return table.select("lead_id", *(name for name in table.collect_schema() if "_placement_" in name)).collect()


@pytest.mark.parametrize("seed", range(2))
def test_the_mix_is_that_of_the_figures_known_at_each_moment(seed: int) -> None:
    first, changes = versions(seed)
    rows = leads(seed)
    found = features(rows, first, changes).sort("lead_id")
    unlike = 0
    for lead in rows.sort("lead_id").iter_slices(1):
        known = changes.filter(pl.col("recorded_time") < lead["created_time"][0]).drop("recorded_time")
        figures = latest(first.lazy(), known.lazy(), measures=MEASURES, ids=IDS).collect()
        expected = features(lead, figures, None)
        assert found.filter(pl.col("lead_id") == lead["lead_id"][0]).equals(expected)
        unlike += not expected.equals(features(lead, first, None))
    assert unlike > 20  # else the restatements would not matter, and nothing would be shown


def test_a_restatement_recorded_after_a_lead_changes_nothing_of_it() -> None:
    first, changes = versions(7)
    rows = leads(7)
    late = changes.with_columns(pl.col("recorded_time") + timedelta(days=400))
    assert features(rows, first, late).equals(features(rows, first, None))
    planted = pl.concat([changes, late.with_columns(pl.col(measure) + 10**9 for measure in MEASURES)])
    assert features(rows, first, planted).equals(features(rows, first, changes))


def test_each_lead_alone_has_the_features_that_it_has_among_others() -> None:
    first, changes = versions(3)
    rows = leads(3)
    whole = features(rows, first, changes)
    for lead in rows.iter_slices(1):
        alone = features(lead, first, changes)
        assert whole.filter(pl.col("lead_id") == lead["lead_id"][0]).equals(alone)


def test_a_load_that_restates_other_ads_only_is_still_a_load() -> None:
    """Each load speaks of one ad: the loads that a lead knows are counted over all ads, and so must its numbers be."""
    first, every = versions(5)
    changes = pl.concat(
        [
            every.filter((pl.col("recorded_time") == moment) & (pl.col("ad_id") == f"A{at % 4}"))
            for at, moment in enumerate(sorted(every["recorded_time"].unique()))
        ]
    )
    rows = leads(5)
    whole, unlike = features(rows, first, changes), 0
    for lead in rows.gather_every(4).iter_slices(1):
        alone = features(lead, first, changes)
        known = changes.filter(pl.col("recorded_time") < lead["created_time"][0])
        expected = features(lead, first, known if known.height else None)
        assert alone.equals(expected), "restatements recorded after the lead reached it"
        assert whole.filter(pl.col("lead_id") == lead["lead_id"][0]).equals(expected)
        unlike += not expected.equals(features(lead, first, None))
    assert unlike > 3
