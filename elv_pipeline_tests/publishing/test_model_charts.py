"""Figures of a model: what they say, and that they stay small pictures."""

from __future__ import annotations

import json

import altair as alt
import polars as pl
import pytest

from elv_pipeline.publishing.pages import model_charts
from elv_pipeline_tests.publishing import sample_content as sample
from elv_pipeline_tests.publishing.pictures import size_of_still

CHARTS: dict[str, alt.Chart] = {
    "reliability": model_charts.reliability(sample.calibration_bins()),
    "lift_and_gains": model_charts.lift_and_gains(sample.gains()),
    "importance": model_charts.importance_chart(sample.full_content().importance),
    "baselines": model_charts.baselines_chart(sample.metrics(), metric="roc_auc"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_still_pictures_are_small_pngs(name: str) -> None:
    width, height = size_of_still(CHARTS[name])
    assert width > 300
    assert height > 60


def test_both_parts_of_the_lift_are_valid() -> None:
    parts = CHARTS["lift_and_gains"].to_dict()["hconcat"]  # validates against the schema of Vega-Lite
    assert len(parts) == 2
    assert model_charts.gains_chart(sample.gains()).to_dict()["title"]["text"] == parts[1]["title"]["text"]


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "lift_and_gains"])
def test_every_figure_has_a_sentence_and_a_text_for_screen_readers(name: str) -> None:
    spec = CHARTS[name].to_dict()
    assert len(spec["title"]["text"].split()) > 3
    assert spec["description"].startswith(spec["title"]["text"])


def test_gains_do_not_depend_on_the_numbering_of_the_deciles() -> None:
    turned = sample.gains().with_columns(decile=11 - pl.col("decile")).reverse()
    assert (
        model_charts.lift_chart(turned).to_dict()["title"] == model_charts.lift_chart(sample.gains()).to_dict()["title"]
    )
    assert "3.0x" in model_charts.lift_chart(turned).to_dict()["title"]["text"]


def test_without_judged_leads_a_figure_is_a_sentence_not_an_error() -> None:
    metrics = {"models": {"model": {"roc_auc": {"value": None}}}}
    empty = (
        model_charts.reliability(sample.calibration_bins().clear()),
        model_charts.lift_and_gains(sample.gains().clear()),
        model_charts.baselines_chart(metrics, metric="roc_auc"),
    )
    for chart in empty:
        assert "nothing to show" in json.dumps(chart.to_dict())
