from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from elv_pipeline.contracts.lead_ads import ADS_SOURCE, LEADS_SOURCE
from elv_pipeline.ingest.ingested import column_profiles
from elv_pipeline.ingest.parsing.categories import as_categories, as_texts, distinct_count, has_one, repeated_columns
from elv_pipeline.ingest.parsing.key_order import key_order
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.source_file import SOURCE_ROW

SCHEMA = {"day": pl.Date, "ad_id": pl.String, "recorded_time": pl.Datetime("us", "UTC")}
MOMENTS = st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))
KEYS = st.lists(
    st.tuples(
        st.dates(date(2024, 1, 1), date(2024, 1, 4)),
        st.one_of(st.none(), st.sampled_from(["10", "9", "B", "a", "ä", "\U0001f600", "\uffee"])),
        st.one_of(st.none(), st.none(), MOMENTS),
    ),
    max_size=12,
)


@pytest.mark.parametrize("categories", [True, False])
@settings(max_examples=150, deadline=None)
@given(rows=KEYS)
@example(rows=[])
@example(rows=[(date(2024, 1, 1), None, None)] * 2)
def test_the_order_is_that_of_a_sort_by_the_columns(categories: bool, rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_row_index(SOURCE_ROW)
    expected = frame.sort(list(SCHEMA), maintain_order=True)
    found = key_order(frame.cast({"ad_id": pl.Categorical}) if categories else frame, tuple(SCHEMA))
    assert_frame_equal(found.applied_to(frame), expected)
    assert found.has_repeats == (len(set(rows)) < len(rows))


def test_the_order_does_not_depend_on_the_blocks_it_is_worked_out_in(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2024, 1, day) for day in (3, 1, 2, 1, 3, 2, 1)]
    frame = pl.DataFrame({"day": days, "ad_id": list("bcaabcb")}, schema_overrides={"ad_id": pl.Categorical})
    whole = key_order(frame, ("day", "ad_id"))
    monkeypatch.setattr("elv_pipeline.ingest.parsing.key_order._BLOCK_ROWS", 2)
    in_blocks = key_order(frame, ("day", "ad_id"))
    assert whole.positions is not None
    assert in_blocks.positions is not None
    assert in_blocks.positions.to_list() == whole.positions.to_list() == [3, 6, 1, 2, 5, 0, 4]


def test_rows_in_order_stay_where_they_are() -> None:
    frame = pl.DataFrame({"ad_id": ["a", "b"]}, schema={"ad_id": pl.Categorical})
    assert key_order(frame, ("ad_id",)).positions is None


def test_only_daily_figures_are_read_as_categories() -> None:
    assert repeated_columns(LEADS_SOURCE) == frozenset()
    assert {"date", "ad_id", "campaign_name"} <= repeated_columns(ADS_SOURCE)
    assert not {"impressions", "spend", "recorded_time"} & repeated_columns(ADS_SOURCE)
    frame = pl.DataFrame({"ad_id": ["a", None], "spend": ["1", "2"]})
    assert as_categories(frame, source=ADS_SOURCE).dtypes == [pl.Categorical, pl.String]
    assert as_texts(as_categories(frame, source=ADS_SOURCE)).equals(frame)


@settings(deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([2**62, -(2**62)])), max_size=8))
def test_distinct_values_are_counted_without_null(values: list[int | None]) -> None:
    expected = len({value for value in values if value is not None})
    numbers = pl.Series("number", values, dtype=pl.Int64)
    assert distinct_count(numbers) == expected
    assert distinct_count(numbers.cast(pl.String)) == expected
    assert distinct_count(numbers.cast(pl.String).cast(pl.Categorical)) == expected


def test_a_profile_calls_categories_text() -> None:
    (profile,) = column_profiles(pl.DataFrame({"ad_id": ["a", None, "a"]}, schema={"ad_id": pl.Categorical}))
    assert (profile.dtype, profile.null_share, profile.distinct) == ("text", 0.333333, 1)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_child_of_two_parents_is_noticed(dtype: type[pl.DataType]) -> None:
    child = pl.Series(["a", "b", "a", "b"], dtype=dtype)
    assert has_one(pl.Series(["x", "x", "x", "x"], dtype=dtype), child=child)
    assert not has_one(pl.Series(["x", "x", "y", "x"], dtype=dtype), child=child)


def test_a_repeated_key_with_an_empty_part_names_both_rows() -> None:
    keys = {"ad_id": ["b", "a", "a"], "recorded_time": [None, None, None]}
    rows = SiftedRows(
        "ads.csv", pl.DataFrame({SOURCE_ROW: [2, 3, 4], **keys}, schema_overrides={"ad_id": pl.Categorical})
    )
    rule = RowRule("duplicate", "ad_id", "one row an ad", "contracts.ads.on_duplicate")
    with pytest.raises(Exception, match=r"ads\.csv row 4: ad_id is 'a', as in row 3 already; one row an ad"):
        rows.require_unique(rule, key=("ad_id", "recorded_time"))
    dropping = RowRule("duplicate", "ad_id", "one row an ad", "contracts.ads.on_duplicate", "drop")
    kept = rows.require_unique(dropping, key=("ad_id", "recorded_time"))
    assert kept.frame[SOURCE_ROW].to_list() == [2, 3]
    assert kept.dropped == {"duplicate": 1}
