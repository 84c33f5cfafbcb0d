"""Restated metrics against brute force: what was known at each lead's moment, version by version."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.tables.restatements import (
    IN_LAKE,
    LOAD,
    count_known_loads,
    latest,
    split_versions,
    window_corrections,
    with_loads,
)

MEASURES = ("impressions", "clicks", "spend_micros")
FIRST = date(2025, 3, 1)
LAG = 1
BOUNDARIES = [0, 1, 2, 3, 7, 14, 28]
Row = dict[str, Any]


def moment(days: float) -> datetime:
    return datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=days)


def random_versions(seed: int) -> tuple[list[Row], list[datetime]]:
    """Rows with their load, and when each load was recorded; later loads restate, drop, add and move ads."""
    rng = np.random.default_rng(seed)
    recorded = sorted(moment(float(x)) for x in rng.uniform(5, 40, size=6))
    rows: list[Row] = []
    for load in range(len(recorded)):
        reach = int((recorded[load] - moment(0)) / timedelta(days=1))
        for offset in range(max(0, reach - 12), reach):
            for ad in range(6):
                if rng.random() < 0.2:
                    continue
                moved = load >= 4 and ad == 5
                figures = rng.integers(0, 3, size=3) if rng.random() < 0.4 else np.array([10 + ad, ad, 1_000_000])
                rows.append(
                    {
                        "day": FIRST + timedelta(days=offset),
                        "campaign_id": f"C{ad // 3}",
                        "adset_id": f"S{ad // 2}" + ("x" if moved else ""),
                        "ad_id": f"A{ad}",
                        LOAD: load,
                        **dict(zip(MEASURES, (int(value) for value in figures), strict=True)),
                    }
                )
    return rows, recorded


def first_loads(rows: list[Row]) -> dict[tuple[date, str], int]:
    """The first load of each day and campaign: what one export lacks, another may hold."""
    found: dict[tuple[date, str], int] = {}
    for row in rows:
        place = (row["day"], row["campaign_id"])
        found[place] = min(row[LOAD], found.get(place, row[LOAD]))
    return found


def base_of(first: dict[tuple[date, str], int]) -> pl.DataFrame:
    rows = [{"day": day, "campaign_id": campaign, LOAD: load} for (day, campaign), load in first.items()]
    return pl.DataFrame(rows, schema_overrides={LOAD: pl.Int64})


def known_at(rows: list[Row], recorded: list[datetime], when: datetime) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Figures by (day, ids) as known before a moment: per day and campaign the newest load that speaks of it."""
    base, known = first_loads(rows), {}
    loads = [load for load, at in enumerate(recorded) if at < when]
    for day, campaign in {(row["day"], row["campaign_id"]) for row in rows}:
        spoken = {row[LOAD] for row in rows if (row["day"], row["campaign_id"]) == (day, campaign)}
        usable = [load for load in spoken if load in loads] or [base[day, campaign]]
        if not usable:
            continue
        newest = max(usable)
        for row in rows:
            if (row["day"], row["campaign_id"], row[LOAD]) == (day, campaign, newest):
                key = (day, row["campaign_id"], row["adset_id"], row["ad_id"])
                known[key] = tuple(row[m] for m in MEASURES)
    return known


def split(rows: list[Row], recorded: list[datetime]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """First figures and changes, as the product keeps them."""
    frame = pl.DataFrame(rows, schema_overrides={LOAD: pl.Int64})
    base = base_of(first_loads(rows))
    first = frame.join(base, on=["day", "campaign_id", LOAD], how="semi").drop(LOAD)
    changes = split_versions(frame, base=base, measures=MEASURES)
    times = pl.DataFrame({LOAD: range(len(recorded)), "recorded_time": recorded}).with_columns(
        pl.col("recorded_time").dt.cast_time_unit("us")
    )
    return first, changes.join(times, on=LOAD, how="left").drop(LOAD)


def window(known: dict[tuple[Any, ...], tuple[int, ...]], level: int, entity: str, last: date, days: int) -> list[int]:
    by_day: dict[date, list[int]] = {}
    for key, figures in known.items():
        if key[level] == entity and last - timedelta(days=days) < key[0] <= last:
            total = by_day.setdefault(key[0], [0, 0, 0])
            by_day[key[0]] = [a + b for a, b in zip(total, figures, strict=True)]
    sums = [sum(total[i] for total in by_day.values()) for i in range(3)]
    return [*sums, sum(total[0] > 0 for total in by_day.values())]


@pytest.mark.parametrize("seed", range(4))
def test_corrections_turn_first_figures_into_those_known_at_each_moment(seed: int) -> None:
    rows, recorded = random_versions(seed)
    first, changes = split(rows, recorded)
    rng = np.random.default_rng(seed + 100)
    moments = [moment(float(x)) for x in rng.uniform(8, 45, size=25)] + recorded
    seen = 0
    for level, key in ((3, "ad_id"), (2, "adset_id"), (1, "campaign_id")):
        entities = sorted({row[key] for row in rows})
        leads = pl.DataFrame(
            {
                "lead_id": [f"L{i}" for i in range(len(moments))],
                "created_time": moments,
                "day": [at.date() for at in moments],
                key: [entities[i % len(entities)] for i in range(len(moments))],
            }
        ).with_columns(pl.col("created_time").dt.cast_time_unit("us"))
        known = count_known_loads(leads.lazy(), changes.lazy())
        found = window_corrections(
            known.select(key, "day", "known_loads").unique(),
            first.lazy(),
            with_loads(changes.lazy()),
            key=key,
            measures=MEASURES,
            active_measure="impressions",
            lag_days=LAG,
            boundaries=BOUNDARIES,
        )
        table = known.join(found, on=[key, "day", "known_loads"], how="left", validate="m:1").collect()
        for row in table.iter_rows(named=True):
            last = row["day"] - timedelta(days=LAG)
            now = known_at(rows, recorded, row["created_time"])
            before_any = known_at(rows, recorded, moment(-1))
            for back in BOUNDARIES[1:]:
                wanted = window(now, level, row[key], last, back)
                base = window(before_any, level, row[key], last, back)
                names = [*MEASURES, "active"]
                got = [(row[f"{m}@0"] or 0) - (row[f"{m}@{back}"] or 0) for m in names]
                assert [a + b for a, b in zip(base, got, strict=True)] == wanted
                seen += wanted != base
    assert seen > 100  # restatements did reach windows


def test_the_newest_figures_are_those_of_the_last_load() -> None:
    rows, recorded = random_versions(11)
    first, changes = split(rows, recorded)
    now = known_at(rows, recorded, moment(1000))
    found = latest(first.lazy(), changes.lazy(), measures=MEASURES).collect()
    got = {
        (row["day"], row["campaign_id"], row["adset_id"], row["ad_id"]): tuple(row[m] for m in MEASURES)
        for row in found.iter_rows(named=True)
        if any(row[m] for m in MEASURES)
    }
    assert got == {key: figures for key, figures in now.items() if any(figures)}


def test_an_unchanged_export_restates_nothing() -> None:
    rows, _ = random_versions(3)
    again = [{**row, LOAD: load} for row in rows if row[LOAD] == 0 for load in (IN_LAKE, 0)]
    base = base_of(dict.fromkeys(first_loads(again), IN_LAKE))
    assert split_versions(pl.DataFrame(again), base=base, measures=MEASURES).is_empty()


def test_an_export_of_one_account_does_not_erase_another() -> None:
    figures = {"impressions": 5, "clicks": 1, "spend_micros": 7}
    mine = {"day": FIRST, "campaign_id": "C1", "adset_id": "S1", "ad_id": "A1", **figures}
    other = {"day": FIRST, "campaign_id": "C2", "adset_id": "S2", "ad_id": "A2", **figures}
    rows = [{**mine, LOAD: 0}, {**other, LOAD: 0}, {**mine, "impressions": 6, LOAD: 1}]
    base = base_of(dict.fromkeys(first_loads(rows), 0))
    changes = split_versions(pl.DataFrame(rows), base=base, measures=MEASURES)
    assert changes.select("ad_id", "impressions", "clicks").rows() == [("A1", 1, 0)]
