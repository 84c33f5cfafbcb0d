"""Figures of what was scored: what they say, and that they hold no lead and stay small pictures."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl
import pytest

from elv_pipeline.publishing.pages import scoring_charts
from elv_pipeline.publishing.pages.stills import still_picture
from elv_pipeline_tests.publishing import sample_content as sample
from elv_pipeline_tests.publishing.pictures import size_of_still

CHARTS: dict[str, alt.Chart] = {
    "scores": scoring_charts.score_distribution(sample.predictions(), probability="p_qualified_14d"),
    "leaderboard": scoring_charts.leaderboard(sample.board(30), currency="EUR"),
    "maturity": scoring_charts.label_maturity(sample.weeks()),
    "drift": scoring_charts.drift_chart(sample.full_content().drift),
}


def data_of(chart: alt.Chart) -> list[list[dict[str, Any]]]:
    return list(chart.to_dict()["datasets"].values())


@pytest.mark.parametrize("name", CHARTS)
def test_still_pictures_are_small_pngs(name: str) -> None:
    width, height = size_of_still(CHARTS[name])
    assert width > 300
    assert height > 60


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_has_a_sentence_and_a_text_for_screen_readers(name: str) -> None:
    spec = CHARTS[name].to_dict()
    assert len(spec["title"]["text"].split()) > 3
    assert spec["description"].startswith(spec["title"]["text"])


def test_leaderboard_shows_25_and_says_so_and_keeps_equal_names_apart() -> None:
    chart = scoring_charts.leaderboard(sample.board(30, name="Same"), currency="EUR")
    assert "The first 25 of 30 campaigns" in chart.to_dict()["title"]["subtitle"]
    rows = max(data_of(chart), key=len)
    assert len(rows) == len({row["label"] for row in rows}) == 25


def test_a_wide_interval_of_few_leads_does_not_squeeze_the_others() -> None:
    board = sample.board(4).with_columns(
        elv_per_spend_high=pl.when(pl.col("low_volume")).then(1_000.0).otherwise(pl.col("elv_per_spend_high"))
    )
    rows = {row["name"]: row for row in max(data_of(scoring_charts.leaderboard(board, currency="EUR")), key=len)}
    assert rows["Campaign 3"]["end"] == rows["Campaign 2"]["high"] == 16
    assert rows["Campaign 3"]["note"] == "→ €20.00 · 10 leads"


def test_histogram_counts_every_lead_once_and_holds_no_leads() -> None:
    chart = scoring_charts.score_distribution(sample.predictions(5_000), probability="p_qualified_14d")
    rows = next(rows for rows in data_of(chart) if "leads" in rows[0])
    assert sum(row["leads"] for row in rows) == 5_000
    assert "lead-" not in json.dumps(chart.to_dict())


def test_maturity_boxes_of_a_week_add_up() -> None:
    rows = data_of(scoring_charts.label_maturity(sample.weeks()))[0]
    assert max(row["until"] for row in rows if row["week"].startswith("2025-07-07")) == 90
    assert "116 of 270" in CHARTS["maturity"].to_dict()["title"]["text"]


def test_drift_is_judged_against_each_columns_own_threshold() -> None:
    title = CHARTS["drift"].to_dict()["title"]["text"]
    assert title == "1 of 1 columns have moved beyond what chance explains"


def test_a_day_without_leads_gives_a_sentence_not_an_error() -> None:
    empty = (
        scoring_charts.score_distribution(sample.predictions().clear(), probability="p_qualified_14d"),
        scoring_charts.leaderboard(sample.board(2).clear(), level="adset"),
        scoring_charts.label_maturity(sample.weeks().clear()),
        scoring_charts.drift_chart(()),
    )
    for chart in empty:
        assert "nothing to show" in json.dumps(chart.to_dict())
    assert still_picture(empty[0]).startswith("data:image/png")
