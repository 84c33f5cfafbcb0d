from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.publishing.pages.content import day_span, joined, moment, money, percent
from elv_pipeline_tests.publishing.sample_content import full_content, predictions


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1234.5, "EUR", "€1,234"),
        (99.994, "USD", "$99.99"),
        (-3.2, "GBP", "-£3.20"),
        (12.0, "CHF", "12.00 CHF"),
        (None, "EUR", "not available"),
        (float("nan"), "EUR", "not available"),
    ],
)
def test_money(amount: float | None, currency: str, text: str) -> None:
    assert money(amount, currency=currency) == text


def test_percent_and_lists() -> None:
    assert [percent(0.081), percent(0.29), percent(None)] == ["8.1%", "29%", "not available"]
    assert [joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_moments_are_shown_in_the_configured_zone_and_spans_name_their_last_day() -> None:
    assert moment("2025-07-13T22:00:00+00:00", timezone="Europe/Berlin") == "14 Jul 2025, 00:00 Europe/Berlin"
    assert moment("2025-07-13", timezone="America/New_York") == "13 Jul 2025"
    span = day_span("2025-01-05T23:00:00+00:00", "2025-04-20T22:00:00+00:00", timezone="Europe/Berlin")
    assert span == "6 Jan 2025 to 20 Apr 2025"
    assert day_span(None, "2025-04-20", timezone="UTC") == "not available"


def test_open_leads_fall_back_to_all_when_none_is_open() -> None:
    assert full_content().open_leads().height == 40
    closed = predictions().with_columns(split=pl.lit("test"))
    assert full_content(predictions=closed).open_leads().height == 60


def test_information_is_not_a_warning() -> None:
    info = {"severity": "info", "code": "a", "message": "Good to know.", "action": "Nothing."}
    content = full_content(alerts=(info,))
    assert [notice["code"] for notice in content.warnings()] == ["late_log"]
    assert [notice["remedy"] for notice in content.remarks()] == ["Nothing."]
