"""Values of drivers become text that ingestion reads exactly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import LEADS_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.extracts.columns import admitted, text_column

BERLIN_SUMMER = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ümlaut ", "ümlaut "),
        (120210000000000017, "120210000000000017"),
        (Decimal("1234567890123456789.000001"), "1234567890123456789.000001"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (0.1, "0.1"),
        (1e-05, "1e-05"),
        (True, "true"),
        (UUID("6F9619FF-8B86-D011-B42D-00CF4FC964FF"), "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        (date(2025, 3, 31), "2025-03-31"),
        (datetime(2025, 3, 31, 14, 5, 0, 7), "2025-03-31 14:05:00.000007"),  # noqa: DTZ001
        (datetime(2025, 3, 31, 14, 5, tzinfo=BERLIN_SUMMER), "2025-03-31T12:05:00Z"),
        (datetime(2025, 3, 31, 14, 5, tzinfo=UTC), "2025-03-31T14:05:00Z"),
    ],
)
def test_a_value_keeps_every_digit(value: object, expected: str) -> None:
    column = text_column([None, value], name="value", place="q.sql")
    assert column.dtype == pl.String
    assert column.to_list() == [None, expected]


def test_types_may_change_from_row_to_row() -> None:
    assert text_column([1, "1", Decimal("1.50"), 2.5, None], name="value", place="q.sql").to_list() == [
        "1",
        "1",
        "1.50",
        "2.5",
        None,
    ]
    assert text_column([12, "x"], name="lead_id", place="q.sql").to_list() == ["12", "x"]
    assert text_column([2**70, None, -1], name="ad_id", place="q.sql").to_list() == [str(2**70), None, "-1"]
    assert text_column([], name="lead_id", place="q.sql").dtype == pl.String


def test_a_whole_float_is_an_id_while_its_digits_are_exact() -> None:
    assert text_column([12.0], name="ad_id", place="q.sql").to_list() == ["12"]
    for value in (2.0**53, 1.5, float("inf"), float("nan")):
        with pytest.raises(ContractError, match=r"q\.sql: column 'ad_id' holds floating-point numbers"):
            text_column([value], name="ad_id", place="q.sql")


@pytest.mark.parametrize("value", [b"\x00", bytearray(b"a"), memoryview(b"a"), [1], {"a": 1}])
def test_what_is_no_plain_value_is_refused(value: object) -> None:
    with pytest.raises(ContractError, match=r"q\.sql: column 'platform' holds .*Convert it in the query"):
        text_column([value], name="platform", place="q.sql")


def test_columns_enter_in_the_order_of_the_contract() -> None:
    found = admitted(["PLATFORM", "Phone", "lead_id", " created_time "], contract=LEADS_SOURCE, place="q.sql")
    assert found.names == ("lead_id", "created_time", "platform")
    assert found.positions == (2, 3, 0)
    assert found.headers == ("lead_id", " created_time ", "PLATFORM")
    assert found.dropped == ("Phone",)


def test_a_dropped_column_whose_name_is_a_value_is_withheld() -> None:
    found = admitted(["lead_id", "created_time", "someone@example.org"], contract=LEADS_SOURCE, place="q.sql")
    assert found.dropped == ("(withheld: not a name)",)
