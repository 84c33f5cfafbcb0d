"""Blocks, batches and threads are only a matter of memory and time: the feature table does not show them."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from elv_pipeline.tables.day_blocks import DailyRows
from elv_pipeline.tables.prefix_sums import Codes
from elv_pipeline_tests.tables.pieces import ALL_DAYS
from elv_pipeline_tests.tables.world import features, random_world


@pytest.mark.parametrize(("days", "rows"), [(1, 1), (3, 5), (4, 1000)])
def test_size_of_blocks_and_batches_changes_nothing(days: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = random_world(9, leads=80)
    whole = features(world)
    monkeypatch.setattr("elv_pipeline.tables.day_blocks.BLOCK_DAYS", days)
    monkeypatch.setattr("elv_pipeline.tables.day_blocks.BATCH_ROWS", rows)
    monkeypatch.setattr("elv_pipeline.tables.day_blocks._PLACING_ROWS", rows)
    for engine in ("in-memory", "streaming"):
        assert features(world, engine=engine).equals(whole)


def rows_of(*rows: tuple[int, str, str | None], codes: dict[str, Codes]) -> DailyRows:
    table = pl.DataFrame(
        [{"day": date(2024, 5, day), "ad_id": ad, "campaign_id": campaign} for day, ad, campaign in rows],
        schema={"day": pl.Date, "ad_id": pl.String, "campaign_id": pl.String},
    )
    return DailyRows.read(table.lazy(), (), codes=codes, days=ALL_DAYS)


def test_parents_are_those_of_the_same_day_whatever_the_order_of_the_rows() -> None:
    ids = pl.LazyFrame({"ad_id": ["a", "b", "x", None], "campaign_id": ["c", "d", "e", None]})
    codes = {key: Codes.of([ids], key) for key in ("ad_id", "campaign_id")}
    # Twice the same ad on a day breaks the contract of the ads export; then the smallest parent counts, in any order.
    activity = [(3, "a", "d"), (1, "b", "d"), (2, "a", "c"), (1, "a", "c"), (3, "a", "c")]
    wanted = [(1, "a", None), (1, "x", None), (2, "a", None), (2, "b", None), (3, "a", None)]
    for ads in (activity, activity[::-1]):
        placed = rows_of(*wanted, codes={"ad_id": codes["ad_id"]}).with_parents(
            rows_of(*ads, codes=codes), key="ad_id", parents=["campaign_id"]
        )
        assert placed.frame["campaign_id#"].to_list() == [0, None, 0, None, 0]
    nothing = rows_of(*wanted, codes={"ad_id": codes["ad_id"]}).with_parents(
        rows_of(codes=codes), key="ad_id", parents=["campaign_id"]
    )
    assert nothing.frame["campaign_id#"].null_count() == 5


def test_days_that_no_window_reaches_are_not_read() -> None:
    table = pl.LazyFrame({"day": [date(2024, 5, day) for day in (4, 1, 3, 2)], "clicks": [4, 1, 3, 2]})
    rows = DailyRows.read(table, ["clicks"], codes={}, days=(date(2024, 5, 2), date(2024, 5, 3)))
    assert rows.frame["clicks"].to_list() == [2, 3]
    leads = pl.DataFrame({"day": [date(2024, 5, 5), date(2024, 5, 6)]})
    everything = DailyRows.read(table, ["clicks"], codes={}, days=ALL_DAYS)
    assert everything.reached_by(leads, longest=1, lag_days=2)["clicks"].to_list() == [2, 3, 4]
