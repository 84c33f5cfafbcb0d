from __future__ import annotations

import base64
import json
import struct
from typing import Any

import altair as alt
import polars as pl
import pytest

from elv_pipeline.publishing import charts
from elv_pipeline.publishing.stills import still_picture
from elv_pipeline_tests.publishing import sample_content as sample

CONTENT = sample.full_content()
CHARTS: dict[str, alt.Chart] = {
    "reliability": charts.reliability(sample.calibration_bins()),
    "lift_and_gains": charts.lift_and_gains(sample.gains()),
    "scores": charts.score_distribution(sample.predictions(), probability="p_qualified_14d"),
    "leaderboard": charts.leaderboard(sample.board(30), currency="EUR"),
    "maturity": charts.label_maturity(sample.weeks()),
    "drift": charts.drift_chart(CONTENT.drift),
    "importance": charts.importance_chart(sample.full_content().importance),
    "baselines": charts.baselines_chart(sample.metrics(), metric="roc_auc"),
}


def data_of(chart: alt.Chart) -> list[list[dict[str, Any]]]:
    return list(chart.to_dict()["datasets"].values())


@pytest.mark.parametrize("name", CHARTS)
def test_still_pictures_are_small_pngs(name: str) -> None:
    uri = still_picture(CHARTS[name])
    assert len(uri) < 60_000
    header = base64.b64decode(uri.removeprefix("data:image/png;base64,"))[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    assert width > 300
    assert height > 60


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "lift_and_gains"])
def test_every_figure_has_a_sentence_and_a_text_for_screen_readers(name: str) -> None:
    spec = CHARTS[name].to_dict()
    assert len(spec["title"]["text"].split()) > 3
    assert spec["description"].startswith(spec["title"]["text"])


def test_leaderboard_shows_25_and_says_so_and_keeps_equal_names_apart() -> None:
    chart = charts.leaderboard(sample.board(30, name="Same"), currency="EUR")
    assert "The first 25 of 30 campaigns" in chart.to_dict()["title"]["subtitle"]
    rows = max(data_of(chart), key=len)
    assert len(rows) == len({row["label"] for row in rows}) == 25


def test_a_wide_interval_of_few_leads_does_not_squeeze_the_others() -> None:
    board = sample.board(4).with_columns(
        elv_per_spend_high=pl.when(pl.col("low_volume")).then(1_000.0).otherwise(pl.col("elv_per_spend_high"))
    )
    rows = {row["name"]: row for row in max(data_of(charts.leaderboard(board, currency="EUR")), key=len)}
    assert rows["Campaign 3"]["end"] == rows["Campaign 2"]["high"] == 16
    assert rows["Campaign 3"]["note"] == "→ €20.00 · 10 leads"


def test_histogram_counts_every_lead_once_and_holds_no_leads() -> None:
    chart = charts.score_distribution(sample.predictions(5_000), probability="p_qualified_14d")
    rows = next(rows for rows in data_of(chart) if "leads" in rows[0])
    assert sum(row["leads"] for row in rows) == 5_000
    assert "lead-" not in json.dumps(chart.to_dict())


def test_gains_do_not_depend_on_the_numbering_of_the_deciles() -> None:
    turned = sample.gains().with_columns(decile=11 - pl.col("decile")).reverse()
    assert charts.lift_chart(turned).to_dict()["title"] == charts.lift_chart(sample.gains()).to_dict()["title"]
    assert "3.0x" in charts.lift_chart(turned).to_dict()["title"]["text"]


def test_maturity_boxes_of_a_week_add_up() -> None:
    rows = data_of(charts.label_maturity(sample.weeks()))[0]
    assert max(row["until"] for row in rows if row["week"].startswith("2025-07-07")) == 90
    assert "116 of 270" in CHARTS["maturity"].to_dict()["title"]["text"]


def test_drift_is_judged_against_each_columns_own_threshold() -> None:
    title = CHARTS["drift"].to_dict()["title"]["text"]
    assert title == "1 of 1 columns have moved beyond what chance explains"


def test_a_day_without_leads_gives_a_sentence_not_an_error() -> None:
    metrics = {"models": {"model": {"roc_auc": {"value": None}}}}
    empty = (
        charts.reliability(sample.calibration_bins().clear()),
        charts.lift_and_gains(sample.gains().clear()),
        charts.score_distribution(sample.predictions().clear(), probability="p_qualified_14d"),
        charts.leaderboard(sample.board(2).clear(), level="adset"),
        charts.label_maturity(sample.weeks().clear()),
        charts.drift_chart(()),
        charts.baselines_chart(metrics, metric="roc_auc"),
    )
    for chart in empty:
        assert "nothing to show" in json.dumps(chart.to_dict())
    assert still_picture(empty[2]).startswith("data:image/png")
