from __future__ import annotations

from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl
import pytest

from elv_pipeline.publishing.pages.monitoring.charts import (
    model_timeline,
    score,
    volume,
)
from elv_pipeline.publishing.pages.monitoring.cohort_charts import (
    estimated_and_realised,
    observed_over_expected,
    value_by_cohort,
)
from elv_pipeline.publishing.pages.monitoring.drift_chart import comparison_name, drift_strip
from elv_pipeline.publishing.pages.monitoring.page import FIGURES
from elv_pipeline_tests.publishing import sample_monitoring as sample
from elv_pipeline_tests.publishing.pictures import size_of_still
from elv_pipeline_tests.publishing.sample_monitoring import LAST, monitoring_charts, monitoring_content

OVER_TIME = [key for key in FIGURES if key != "drift"]


def title_of(chart: alt.Chart) -> str:
    return str(chart.to_dict()["title"]["text"])


def rows_with(chart: alt.Chart, *fields: str) -> list[dict[str, Any]]:
    """The data of the layer whose rows have these fields."""
    spec = chart.to_dict()
    sets = [*spec.get("datasets", {}).values(), *(part.get("data", {}).get("values", []) for part in parts_of(spec))]
    return next(list(rows) for rows in sets if rows and set(fields) <= set(rows[0]))


def parts_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec, *(part for layer in spec.get("layer", []) for part in parts_of(layer))]


def test_figures_over_time_lie_exactly_under_each_other() -> None:
    charts = monitoring_charts(monitoring_content())
    domains, extents = set(), set()
    for key in OVER_TIME:
        for part in parts_of(charts[key].to_dict()):
            encoding = part.get("encoding", {})
            if "scale" in encoding.get("x", {}):
                domains.add(str(encoding["x"]["scale"]["domain"]))
            axis = encoding.get("y", {}).get("axis")
            if axis:
                extents.add((axis["minExtent"], axis["maxExtent"]))
    assert len(domains) == 1
    assert extents == {(44, 44)}


@pytest.mark.parametrize("key", FIGURES)
def test_every_figure_is_a_small_still(key: str) -> None:
    width, height = size_of_still(monitoring_charts(sample.troubled_content())[key])
    assert width > 400
    assert height > 60


@pytest.mark.parametrize(
    ("leads", "said", "odd"),
    [
        (119, "are within the 92 to 153 that are usual", False),
        (20, "are fewer than", True),
        (900, "are more than", True),
    ],
)
def test_volume_says_whether_the_newest_day_is_usual(leads: int, said: str, odd: bool) -> None:
    chart = volume(monitoring_content(days=sample.days_frame(leads=leads)))
    assert said in title_of(chart)
    rows = rows_with(chart, "low", "odd")
    assert len(rows) == 180
    assert rows[-1]["odd"] is odd
    assert rows[0]["low"] is None


def test_a_held_day_has_a_cross_and_no_point() -> None:
    chart = volume(sample.troubled_content())
    assert rows_with(chart, "held") == [{"held": "2025-06-29T12:00:00"}]
    assert rows_with(chart, "low", "odd")[-1]["value"] is None
    assert "An orange cross marks a day held back" in chart.to_dict()["title"]["subtitle"]
    assert "cross" not in volume(monitoring_content()).to_dict()["title"]["subtitle"]


def test_a_score_that_jumps_is_told() -> None:
    jumped = sample.days_frame().with_columns(
        pl.when(pl.col("day") == LAST).then(0.2).otherwise("mean_probability").alias("mean_probability")
    )
    chart = score(monitoring_content(days=jumped))
    assert title_of(chart).startswith("Leads yesterday score 20.0% on average, more than the usual")
    assert rows_with(chart, "low", "odd")[-1]["odd"] is True


def test_the_timeline_has_a_bar_a_stretch_and_a_point_an_entry_in_its_time() -> None:
    content = monitoring_content(
        audit=[
            sample.audit_entry(LAST - timedelta(days=400)),
            sample.audit_entry(LAST - timedelta(days=20), decision="challenges"),
            sample.audit_entry(LAST - timedelta(days=9), decision="rolled back"),
        ]
    )
    chart = model_timeline(content)
    bars = rows_with(chart, "version", "wide")
    assert [(bar["name"], bar["wide"]) for bar in bars] == [(f"v{n}", True) for n in (3, 4, 5, 4, 6)]
    assert bars[-1]["until"] == "2025-06-30T00:00:00"
    assert [row["decision"] for row in rows_with(chart, "decision")] == ["challenges", "rolled back"]
    single = rows_with(model_timeline(sample.young_content()), "version", "wide")[0]
    assert single["middle"] == "2025-06-29T12:00:00"


def test_the_strip_shows_the_strongest_of_a_week_and_the_furthest_comparisons() -> None:
    chart = drift_strip(monitoring_content(drift=sample.drift_frame(200, features=40)))
    cells = rows_with(chart, "level", "share")
    names = {cell["name"] for cell in cells}
    assert len(names) == 30
    assert {"score", "outcomes against promises", "all features together", "ad_clicks_1d"} <= names
    assert "30 that came closest are shown of 45" in chart.to_dict()["title"]["subtitle"]
    moved = [cell for cell in cells if cell["name"] == "ad_clicks_1d"]
    assert len(moved) == 29
    assert max(cell["share"] for cell in moved) == 2.4
    assert moved[-1]["level"] in ("called out", "far beyond")
    days = rows_with(drift_strip(monitoring_content(drift=sample.drift_frame(30))), "level", "share")
    assert len(days) == 17 * 30
    levels = {cell["name"]: cell["level"] for cell in days if cell["from"].startswith(str(LAST))}
    assert levels["ad_clicks_1d"] == "far beyond"


def test_many_called_out_comparisons_are_counted() -> None:
    rows = [sample.drift_row(f"feature_{number}", LAST, share=1.5 + number / 10) for number in range(6)]
    chart = drift_strip(monitoring_content(drift=pl.DataFrame(rows, schema=sample.drift_frame(1).schema)))
    assert title_of(chart) == (
        "6 of 6 comparisons called out on 29 Jun 2025: feature_5, feature_4, feature_3 and 3 more"
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("feature", "spend_7d"), ("missing", "spend_7d: missing values"), ("new_level", "spend_7d: new categories")),
        *(("score", "score"), ("prevalence", "outcomes against promises"), ("domain", "all features together")),
    ],
)
def test_comparisons_have_names_that_people_use(kind: str, name: str) -> None:
    assert comparison_name({"kind": kind, "column": "spend_7d"}) == name


def test_weeks_that_miss_their_promise_are_orange_and_counted() -> None:
    chart = observed_over_expected(monitoring_content(performance=sample.performance_frame(came=0.5)))
    assert title_of(chart).startswith("In 22 of 22 complete weeks the outcomes surely missed the promise")
    rows = rows_with(chart, "ratio", "off")
    assert [row["complete"] for row in rows] == [*[True] * 22, False]  # the newest week has no outcome at all
    assert all(row["off"] for row in rows[:22])


def test_a_wide_interval_does_not_squeeze_the_others() -> None:
    cohort = sample.performance_frame()["cohort"].min()
    wide = [{"cohort": cohort, "ratio": 1.0, "ratio_low": 0.0, "ratio_high": 9.0}]
    rows = rows_with(observed_over_expected(monitoring_content(prevalence=wide)), "ratio", "off")
    assert rows[0]["high"] == 9.0
    assert max(row["end"] for row in rows) == 1.6


@pytest.mark.parametrize(
    ("weeks", "waiting", "said"),
    [
        (1, 2, "are promised by leads whose outcomes are open"),
        (3, 2, "came in the complete week where €20,016 were promised"),
        (24, 2, "came in 22 complete weeks where €440,352 were promised"),
    ],
)
def test_value_is_summed_over_complete_weeks_alone(weeks: int, waiting: int, said: str) -> None:
    content = monitoring_content(performance=sample.performance_frame(weeks, waiting=waiting))
    chart = value_by_cohort(content)
    assert said in title_of(chart)
    assert len(rows_with(chart, "estimated", "left")) == weeks


def test_estimates_are_judged_where_weeks_are_complete() -> None:
    frame = sample.performance_frame()
    inside = title_of(estimated_and_realised(monitoring_content(performance=frame), figure="roc_auc"))
    assert inside == "The ROC AUC was within what was estimated in 22 of 22 weeks"
    worse = pl.col("realised") - pl.when(pl.col("cohort") >= LAST - timedelta(days=60)).then(0.1).otherwise(0.0)
    fallen = monitoring_content(performance=frame.with_columns(worse.alias("realised")))
    outside = title_of(estimated_and_realised(fallen, figure="roc_auc"))
    assert outside == "The ROC AUC was within what was estimated in 16 of 22 weeks"
    young = monitoring_content(performance=sample.performance_frame(2, waiting=3))
    said = title_of(estimated_and_realised(young, figure="roc_auc"))
    assert said == "The ROC AUC is estimated for 2 week(s); none of them can be judged yet"


def test_without_facts_a_figure_says_so() -> None:
    empty = sample.empty_content()
    for draw in (volume, score, model_timeline, drift_strip, observed_over_expected, value_by_cohort):
        assert title_of(draw(empty)).startswith("No ")
