from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.publishing.content import (
    compared,
    day_span,
    how_sure,
    joined,
    moment,
    money,
    money_advice,
    percent,
    verdict,
    wilson_interval,
)
from elv_pipeline_tests.publishing.sample_content import MANIFEST, board, full_content, metrics, predictions


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


def test_wilson_interval_matches_the_published_example() -> None:
    low, high = wilson_interval(8, 10)  # Newcombe 1998 tabulates this method
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)


def test_a_difference_counts_only_when_its_interval_excludes_zero() -> None:
    assert compared({"value": 0.1, "low": 0.05, "high": 0.15}, name="roc_auc") == "model better"
    assert compared({"value": 0.1, "low": 0.05, "high": 0.15}, name="log_loss") == "model worse"
    assert compared({"value": 0.1, "low": -0.05, "high": 0.15}, name="roc_auc") == "no clear difference"
    assert compared({"value": 0.1, "low": None, "high": None}, name="roc_auc") == ""
    assert compared(None, name="roc_auc") == ""


def test_verdict_follows_the_interval_not_the_value() -> None:
    assert verdict(full_content(findings=())).tone == "good"
    assert verdict(full_content()).tone == "care"
    assert verdict(full_content(metrics=metrics(lift=1.45))).tone == "stop"
    assert verdict(full_content(metrics=None)).tone == "unknown"


def test_probabilities_outside_the_observed_interval_are_called_off() -> None:
    high = metrics()
    high["models"]["model"]["mean_prediction"]["value"] = 0.2
    assert any("run high" in reason for reason in verdict(full_content(metrics=high)).reasons)
    assert any("face value" in reason for reason in verdict(full_content()).reasons)


def test_money_advice_names_only_campaigns_with_volume_clearly_off_the_average() -> None:
    advice = money_advice(full_content())
    assert advice[0].startswith("Put money on “Campaign 6” (€35.00), “Campaign 5” (€30.00) and “Campaign 4” (€25.00)")
    assert "Campaign 7" not in " ".join(advice), "the best has too few leads"
    assert advice[1].startswith("Think twice about “Campaign 0”")
    wide = board(8).with_columns(elv_per_spend_low=pl.lit(0.0), elv_per_spend_high=pl.lit(99.0))
    assert "No campaign" in money_advice(full_content(campaign_leaderboard=wide))[0]
    assert money_advice(full_content(campaign_leaderboard=board(1))) == [
        "Campaigns with enough leads to judge: 1 of 1. Nothing to compare yet."
    ]


def test_default_value_is_called_out() -> None:
    content = full_content(manifest={**MANIFEST, "value_per_qualified": 1.0})
    assert "A qualified lead is valued at €1, the default: read money figures as counts of leads." in how_sure(content)


def test_open_leads_fall_back_to_all_when_none_is_open() -> None:
    assert full_content().open_leads().height == 40
    closed = predictions().with_columns(split=pl.lit("test"))
    assert full_content(predictions=closed).open_leads().height == 60


def test_information_is_not_a_warning() -> None:
    info = {"severity": "info", "code": "a", "message": "Good to know.", "action": "Nothing."}
    content = full_content(alerts=(info,))
    assert [notice["code"] for notice in content.warnings()] == ["late_log"]
    assert [notice["remedy"] for notice in content.remarks()] == ["Nothing."]
