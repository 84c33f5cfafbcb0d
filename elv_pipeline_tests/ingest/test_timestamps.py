from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing import timestamps
from elv_pipeline.ingest.parsing.timestamps import ParsedTimes, TimeColumn, parse_times


def parse(*texts: str | None, timezone: str = "Europe/Berlin", **keys: object) -> ParsedTimes:
    spec = TimeColumn(place="leads.csv", table="leads", column="created_time", timezone=timezone, **keys)  # type: ignore[arg-type]
    rows = pl.Series(range(2, 2 + len(texts)), dtype=pl.Int64)
    return parse_times(pl.Series("created_time", texts, dtype=pl.String), rows=rows, spec=spec)


def refusal(*texts: str | None, **keys: object) -> str:
    with pytest.raises(ContractError) as caught:
        parse(*texts, **keys)  # type: ignore[arg-type]
    return str(caught.value)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-31T14:05:06Z", utc(2025, 3, 31, 14, 5, 6)),
        ("2025-03-31 14:05:06.123456+02:00", utc(2025, 3, 31, 12, 5, 6, 123456)),
        ("2025-03-31T14:05:06.5-0330", utc(2025, 3, 31, 17, 35, 6, 500000)),
        ("2025-03-31T14:05+05:45", utc(2025, 3, 31, 8, 20)),
        ("2025-03-31 14:05:06 UTC", utc(2025, 3, 31, 14, 5, 6)),
        ("2025-03-31 14:05:06+00", utc(2025, 3, 31, 14, 5, 6)),
        ("2025-03-31 14:05:06-03", utc(2025, 3, 31, 17, 5, 6)),
    ],
)
def test_offsets(text: str, moment: datetime) -> None:
    found = parse(text, None)
    assert found.moments.to_list() == [moment, None]
    assert found.shape == "offset"


def test_naive_times_are_local_or_of_the_named_zone() -> None:
    assert parse("2025-07-01 14:05").moments[0] == utc(2025, 7, 1, 12, 5)
    assert parse("2025-07-01T14:05:00.000001", naive_timezone="UTC").moments[0] == utc(2025, 7, 1, 14, 5, 0, 1)


def test_dates_are_local_midnight_whatever_the_naive_zone() -> None:
    found = parse("2025-07-01", naive_timezone="UTC")
    assert found.moments[0] == utc(2025, 6, 30, 22)
    assert found.shape == "date"
    assert parse("2025-07-01", end_of_day=True).moments[0] == utc(2025, 7, 1, 21, 59, 59, 999999)


def test_a_column_without_values_has_no_shape() -> None:
    found = parse(None, None)
    assert found.shape == "none"
    assert found.moments.dtype == pl.Datetime("us", "UTC")


def test_a_time_that_does_not_exist_moves_forward_and_is_counted() -> None:
    found = parse("2025-03-30 02:30:00", "2025-03-30 03:30:00", "2025-03-30 01:59:59")
    assert found.moments.to_list() == [utc(2025, 3, 30, 1, 30), utc(2025, 3, 30, 1, 30), utc(2025, 3, 30, 0, 59, 59)]
    assert found.shifted == 1


def test_a_time_that_occurs_twice_is_its_first_occurrence() -> None:
    assert parse("2025-10-26 02:30:00").moments[0] == utc(2025, 10, 26, 0, 30)


def test_a_day_without_midnight_begins_at_its_first_moment() -> None:
    found = parse("2017-10-15", timezone="America/Sao_Paulo")
    assert found.moments[0] == utc(2017, 10, 15, 3)
    assert found.moments.dt.convert_time_zone("America/Sao_Paulo").dt.date()[0] == date(2017, 10, 15)
    assert found.shifted == 0


def test_unparsable_value_names_value_row_rule_remedy() -> None:
    text = refusal("2025-01-01", "yesterday", "soon")
    assert "leads.csv row 3: created_time is a text of the form 'aaaaaaaaa' (not shown: it may be personal)" in text
    assert " (and 1 more row); times must be ISO 8601" in text
    assert "contracts.leads.timestamp_format" in text


@pytest.mark.parametrize("value", ["2025-02-30", "2025-01-01 24:00:00", "2025-01-01T10:61:00Z", "2025-01-01 10:00:60"])
def test_impossible_days_and_times(value: str) -> None:
    text = refusal(value)
    assert f"leads.csv row 2: created_time is '{value}'; there is no such day or time of day" in text


def test_ambiguous_dates_are_refused_with_both_formats() -> None:
    text = refusal("03/04/2025")
    assert "leads.csv row 2: created_time is '03/04/2025'; this could be 3 April or 4 March" in text
    assert "Set contracts.leads.timestamp_format: '%d/%m/%Y' (day first) or '%m/%d/%Y' (month first)" in text


def test_another_row_can_settle_the_format_to_suggest() -> None:
    assert "Set contracts.leads.timestamp_format: '%d.%m.%Y %H:%M'," in refusal("03.04.2025 10:00", "25.04.2025 10:00")
    assert "timestamp_format: '%m/%d/%y'," in refusal("03/25/25")


def test_mixed_time_zones_show_one_of_each() -> None:
    text = refusal("2025-01-01T10:00:00Z", "2025-01-02T10:00:00")
    assert (
        "row 3: created_time is '2025-01-02T10:00:00', but row 2 has '2025-01-01T10:00:00Z'; mixed time zones" in text
    )
    assert "contracts.leads.naive_timezone" in text


def test_dates_mixed_with_times() -> None:
    assert "dates and times are mixed" in refusal("2025-01-01", "2025-01-02 10:00:00")


def test_a_named_format_is_used_strictly() -> None:
    found = parse("03/04/2025", timestamp_format="%d/%m/%Y")
    assert found.moments[0] == utc(2025, 4, 2, 22)
    assert found.shape == "date"
    assert parse("03/04/2025 10:00", timestamp_format="%d/%m/%Y %H:%M").shape == "naive"
    offset = parse("03/04/2025 10:00 +0200", timestamp_format="%d/%m/%Y %H:%M %z")
    assert (offset.shape, offset.moments[0]) == ("offset", utc(2025, 4, 3, 8))
    text = refusal("03/04/2025", "04/13/2025", timestamp_format="%d/%m/%Y")
    assert "row 3: created_time is '04/13/2025'; it must match contracts.leads.timestamp_format: '%d/%m/%Y'" in text


@pytest.mark.parametrize("value", ["0001-01-01", "9999-12-31"])
def test_sentinels_for_never_are_no_times(value: str) -> None:
    text = refusal(value)
    assert f"created_time is '{value}'; the year must lie between 1970 and 2099" in text
    assert "contracts.leads.null_values" in text


def test_an_address_in_a_time_column_is_withheld() -> None:
    assert "eve" not in refusal("eve@example.com")


@pytest.mark.parametrize("value", ["Jane Doe 0171 234567", "+491711234567", "1711234567", "12 Main Street", "Zoë"])
def test_a_name_or_number_in_a_time_column_of_leads_is_not_shown(value: str) -> None:
    text = refusal(value)
    assert value not in text
    assert value.split()[0] not in text
    assert "".join("0" if sign.isdigit() else sign for sign in value if not sign.isalpha()) in text.replace(
        "A", ""
    ).replace("a", "")


def test_a_column_that_is_not_about_people_shows_what_it_holds() -> None:
    spec = TimeColumn(place="ads.csv", table="ads", column="date", timezone="UTC")
    with pytest.raises(ContractError, match=r"ads\.csv row 2: date is 'yesterday'; times must be"):
        parse_times(pl.Series(["yesterday"]), rows=pl.Series([2]), spec=spec)


ZONES = ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"]
ENDINGS = ["", "Z", "z", "+02:00", "-03:30", "+0545", "-0000", "+14:59", "+15:00", "+02:60", ".5", "+02"]
DIGIT_LIKE = st.text(alphabet="0123456789-+:TZ \u0663", min_size=10, max_size=25)


@st.composite
def times(draw: st.DrawFn) -> list[str | None]:
    """A column of one form, now and then with a value that is impossible or has another form."""
    separator, ending = draw(st.sampled_from(" T")), draw(st.sampled_from(ENDINGS))
    year, top = draw(st.sampled_from([1, 1969, 2000, 2016, 2017, 2024, 2100, 9999])), draw(st.sampled_from([0, 1]))
    moment = st.builds(
        lambda month, day, hour, minute: f"{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{minute:02}",
        st.integers(1 - top, 12 + top),
        st.integers(1 - top, 31),
        st.integers(0, 23 + top),
        st.integers(0, 59 + top),
    )
    only_days = draw(st.booleans())
    written = moment.map(lambda text: text[:10] if only_days else text + ending)
    return draw(st.lists(st.one_of(written, written, written, st.none(), DIGIT_LIKE), min_size=1, max_size=4))


def outcome(column: pl.Series, zone: str, **keys: object) -> tuple[list[object], str, int] | str:
    spec = TimeColumn(place="leads.csv", table="leads", column="created_time", timezone=zone, **keys)  # type: ignore[arg-type]
    try:
        found = parse_times(column, rows=pl.Series(range(2, 2 + len(column)), dtype=pl.Int64), spec=spec)
    except ContractError as error:
        return str(error)
    assert found.local_days(zone).to_list() == found.moments.dt.convert_time_zone(zone).dt.date().to_list()
    return found.moments.to_list(), found.shape, found.shifted


@settings(max_examples=400, deadline=None)
@given(texts=times(), zone=st.sampled_from(ZONES), end_of_day=st.booleans())
@example(texts=["2025-03-30 02:30:00", "2025-03-30 02:30:00", None], zone="Europe/Berlin", end_of_day=False)
@example(texts=["2017-10-15"], zone="America/Sao_Paulo", end_of_day=True)
@example(texts=["2025-02-29T00:00:00Z"], zone="UTC", end_of_day=False)
def test_every_way_of_reading_a_column_agrees(texts: list[str | None], zone: str, end_of_day: bool) -> None:
    column = pl.Series("created_time", texts, dtype=pl.String)
    by_place = outcome(column, zone, end_of_day=end_of_day)
    by_value = outcome(column.cast(pl.Categorical), zone, end_of_day=end_of_day)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timestamps, "fixed_wall_clock", lambda text: None)
        by_pattern = outcome(column, zone, end_of_day=end_of_day)
    assert by_place == by_pattern
    assert by_value == by_pattern
