from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl
import pytest

from elv_pipeline.publishing.pages import proof_charts, why_charts
from elv_pipeline.publishing.pages.stills import still_picture
from elv_pipeline_tests.publishing import sample_proof as sample

HOUR = sample.partial_dependence().filter(pl.col("feature") == "hour")
CAMPAIGN = sample.partial_dependence().filter(pl.col("feature") != "hour")
SUMMARY = sample.proven_metrics()["reliability"]
CHARTS: dict[str, alt.Chart] = {
    "budget": proof_charts.budget_chart(sample.value_at_budget(), currency="EUR"),
    "reliability": proof_charts.reliability_curve(sample.reliability_curve(), summary=SUMMARY),
    "segments": proof_charts.segments_chart(sample.segments(), title="Two off, two agree", names={"c0": "Brand"}),
    "grades": proof_charts.grades_chart(sample.grades()),
    "dependence on a number": why_charts.dependence_chart(HOUR, definition="Hour of day."),
    "dependence on a category": why_charts.dependence_chart(CAMPAIGN),
    "insights": why_charts.insights_chart(sample.insights()),
}


def title_of(chart: alt.Chart) -> str:
    return str(chart.to_dict()["title"]["text"])


def rows_of(chart: alt.Chart, column: str) -> list[dict[str, Any]]:
    return next(rows for rows in chart.to_dict()["datasets"].values() if column in rows[0])


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_has_a_sentence_and_a_small_still(name: str) -> None:
    spec = CHARTS[name].to_dict()
    assert len(spec["title"]["text"].split()) > 3
    assert spec["description"].startswith(spec["title"]["text"])
    assert len(still_picture(CHARTS[name])) < 60_000


def test_the_budget_says_what_the_best_tenth_collects_and_ends_at_all_value() -> None:
    assert title_of(CHARTS["budget"]) == "Working the best 10% of the leads collects €4,176 of €14,400 (29%)"
    own = rows_of(CHARTS["budget"], "share")
    assert [(row["worked"], row["value"]) for row in (own[0], own[-1])] == [(0, 0), (1, 14_400)]
    names = {row["name"] for row in rows_of(CHARTS["budget"], "name")}
    assert names == {"Campaign's past rate"}, "one rate for all is the line of random work"


def test_reliability_marks_what_a_calibrated_model_would_hardly_show() -> None:
    assert [row["p"] for row in rows_of(CHARTS["reliability"], "outside") if row["outside"]] == [0.3]
    assert title_of(CHARTS["reliability"]).startswith("For 96% of the leads")
    sure = proof_charts.reliability_curve(sample.reliability_curve(), summary=SUMMARY | {"p_value": 0.001})
    assert title_of(sure) == "Predicted and observed rates disagree: the line leaves the band for 4% of the leads"
    assert title_of(proof_charts.reliability_curve(sample.reliability_curve(), summary=None)).startswith("What was")


def test_segments_are_named_and_coloured_by_their_verdict_not_by_their_interval() -> None:
    rows = {row["label"]: row for row in rows_of(CHARTS["segments"], "label")}
    assert set(rows) == {"Brand", "c1", "7 small ones together", "fb", "not known"}
    assert [name for name, row in rows.items() if row["off"]] == ["Brand", "not known"]
    assert [name for name, row in rows.items() if row["few"]] == ["7 small ones together"]


def test_a_segment_with_a_wide_interval_does_not_squeeze_the_others() -> None:
    wide = sample.segments().with_columns(ratio_high=pl.lit(50.0))
    rows = rows_of(proof_charts.segments_chart(wide, title="Wide", names={}), "label")
    assert max(row["end"] for row in rows) < 2.2


def test_two_campaigns_of_one_name_stay_apart() -> None:
    chart = proof_charts.segments_chart(sample.segments(), title="Same", names={"c0": "Brand", "c1": "Brand"})
    assert {"Brand", "Brand (c1)"} <= {row["label"] for row in rows_of(chart, "label")}


def test_only_the_largest_of_two_thousand_segments_are_drawn_and_that_is_said() -> None:
    one = sample.segments().head(1)
    many = pl.concat([one.with_columns(segment=pl.lit(f"c{i}")) for i in range(2_000)])
    chart = proof_charts.segments_chart(many, title="Many", names={})
    assert len(rows_of(chart, "label")) == proof_charts.TOP_SEGMENTS
    assert "The 20 largest of 2,000." in chart.to_dict()["title"]["subtitle"]


def test_grades_without_judged_leads_have_no_bar() -> None:
    unjudged = sample.grades().with_columns(
        observed_rate=pl.when(pl.col("grade") == "A").then(None).otherwise(pl.col("observed_rate"))
    )
    assert title_of(proof_charts.grades_chart(unjudged)).startswith("9.0% of the leads graded B qualified")
    assert title_of(CHARTS["grades"]) == "25% of the leads graded A qualified, 8.0% of all"


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ([0.04, 0.06, 0.12], "With hour the probability rises from 4.0% to 12.0%"),
        ([0.12, 0.06, 0.04], "With hour the probability falls from 12.0% to 4.0%"),
        ([0.1, 0.101, 0.1], "hour hardly moves the probability by itself"),
        ([0.05, 0.12, 0.06], "hour: between 5.0% and 12.0%, neither rising nor falling throughout"),
    ],
)
def test_dependence_is_put_in_words(means: list[float], said: str) -> None:
    curve = HOUR.filter(pl.col("kind") == "number").with_columns(mean_probability=pl.Series(means))
    assert title_of(why_charts.dependence_chart(curve)) == said


def test_what_is_missing_is_a_sentence_and_no_point_on_the_axis_of_numbers() -> None:
    spec = CHARTS["dependence on a number"].to_dict()
    assert "Not known for 10% of the leads: 5.0%." in spec["title"]["subtitle"]
    assert len(rows_of(CHARTS["dependence on a number"], "number")) == 3
    assert title_of(CHARTS["dependence on a category"]).endswith("7.0% to 9.0%, highest for c1")


def test_insights_show_only_what_stands_out_and_never_lose_the_value() -> None:
    labels = [row["label"] for row in rows_of(CHARTS["insights"], "label")]
    assert labels == ["Campaign: c1", "Hour of day: 0 to 5"]
    long = sample.insights().with_columns(words=pl.lit("A definition that is much longer than any label could be"))
    labels = [row["label"] for row in rows_of(why_charts.insights_chart(long), "label")]
    assert labels == ["category_campaign_id: c1", "hour: 0 to 5"]
    assert title_of(CHARTS["insights"]).startswith("Leads with Hour of day: 0 to 5 qualified 0.1x as often")


def test_figures_without_facts_are_one_sentence() -> None:
    none = sample.value_at_budget() | {"value": 0.0}
    empty = (
        proof_charts.budget_chart(none, currency="EUR"),
        proof_charts.reliability_curve(sample.reliability_curve().clear(), summary=None),
        proof_charts.segments_chart(sample.segments().clear(), title="None", names={}),
        proof_charts.grades_chart(sample.grades().clear()),
        why_charts.dependence_chart(HOUR.clear()),
        why_charts.insights_chart(sample.insights().clear()),
        why_charts.insights_chart(sample.insights().with_columns(stands_out=pl.lit(False))),
    )
    for chart in empty:
        assert "nothing to show" in json.dumps(chart.to_dict())
