from __future__ import annotations

from datetime import date, datetime, timedelta
from math import sqrt
from typing import Any

import polars as pl
import pytest

from elv_pipeline.errors import ElvError
from elv_pipeline.publishing.pages.monitoring.bands import (
    Band,
    count_bands,
    mean_bands,
    newest_count_band,
    usual_value_per_lead,
)
from elv_pipeline.publishing.pages.monitoring.content import drift_strength
from elv_pipeline_tests.publishing import sample_monitoring as sample
from elv_pipeline_tests.publishing.sample_monitoring import AS_OF, LAST, alert, monitoring_content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": sample.days_frame().drop("held", "drifted")}, "days lacks held, drifted; it needs day, leads"),
        ({"rows": sample.rows_frame().drop("rows")}, "rows lacks rows"),
        ({"as_of": datetime(2025, 6, 30)}, "without a zone; give a UTC moment"),  # noqa: DTZ001 - the mistake itself
        (
            {"days": pl.concat([sample.days_frame(3), sample.days_frame(1)])},
            "days holds 2025-06-29 more than once; a day has one row",
        ),
    ],
)
def test_what_could_not_be_shown_whole_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ElvError, match=message):
        monitoring_content(**changes)


def test_alerts_are_read_by_gravity_then_money_then_age() -> None:
    alerts = [
        alert("info", "a", money=9e9),
        alert("warning", "b", money=None, since="2025-06-01T00:00:00+00:00"),
        alert("warning", "c", money=10.0),
        alert("warning", "d", money=None, since="2025-05-01T00:00:00+00:00"),
        alert("critical", "e", money=None),
    ]
    assert [found["code"] for found in monitoring_content(alerts=alerts).open_alerts()] == ["e", "c", "d", "b", "a"]


def test_versions_that_scored_are_told_in_stretches_even_when_one_returns() -> None:
    spans = monitoring_content().model_spans()
    assert [span.version for span in spans] == ["3", "4", "5", "4", "6"]
    assert spans[1].first == date(2025, 3, 3)
    assert spans[1].until == date(2025, 4, 6)
    assert spans[1].days == spans[1].length == 35
    assert sum(span.leads for span in spans) == sample.days_frame()["leads"].sum()


def test_a_held_day_is_neither_the_newest_nor_part_of_what_is_usual() -> None:
    content = monitoring_content(days=sample.days_frame(60, held=1))
    assert content.newest is not None
    assert content.newest["day"] == LAST - timedelta(days=1)
    assert content.held_days() == [LAST]
    band = monitoring_content(days=sample.days_frame(60)).usual_leads[LAST]
    assert content.usual_leads[LAST] == band


def test_the_axis_holds_days_cohorts_and_at_least_a_week() -> None:
    assert sample.young_content().span() == (LAST - timedelta(days=6), LAST + timedelta(days=1))
    assert sample.empty_content().span() == (AS_OF.date() - timedelta(days=6), AS_OF.date() + timedelta(days=1))
    content = monitoring_content(10, performance=sample.performance_frame(4))
    assert content.span() == (date(2025, 6, 2), LAST + timedelta(days=1))
    assert monitoring_content(360).span()[1] == LAST + timedelta(days=6)


def test_observed_over_expected_has_an_interval_and_what_chance_would_do() -> None:
    row = monitoring_content().calibration_by_cohort()[0]
    assert row["ratio"] == row["observed"] / row["expected"]
    half = 2 * sqrt(row["expected"]) / row["expected"]
    assert (row["band_low"], row["band_high"]) == pytest.approx((1 - half, 1 + half))
    assert (row["low"], row["high"]) == pytest.approx((row["ratio"] - half, row["ratio"] + half))


def test_the_interval_that_knows_days_and_campaigns_is_preferred() -> None:
    cohort = sample.performance_frame()["cohort"].min()
    found = [{"cohort": cohort, "ratio": 1.0, "ratio_low": 0.4, "ratio_high": 1.7}]
    found += [{"cohort": date(2025, 2, 3), "ratio": None, "ratio_low": None, "ratio_high": None}]
    rows = monitoring_content(prevalence=found).calibration_by_cohort()
    assert (rows[0]["low"], rows[0]["high"]) == (0.4, 1.7)
    assert all(row["low"] is not None for row in rows)
    text = [{**found[0], "cohort": str(cohort)}]
    assert monitoring_content(prevalence=text).calibration_by_cohort()[0]["low"] == 0.4


def test_the_recent_ratio_adds_up_complete_weeks_alone() -> None:
    content = monitoring_content()
    complete = [row for row in content.calibration_by_cohort() if row["complete"]]
    assert len(complete) == 22
    ratio = content.recent_ratio()
    assert ratio is not None
    assert ratio.cohorts == 4
    assert ratio.observed == sum(row["observed"] for row in complete[-4:])
    assert ratio.ratio == ratio.observed / ratio.expected
    half = sqrt(4 * (2 * sqrt(0.08 * 1390)) ** 2) / ratio.expected
    assert (ratio.low, ratio.high) == pytest.approx((ratio.ratio - half, ratio.ratio + half))
    assert monitoring_content(performance=sample.performance_frame(2)).recent_ratio() is None


@pytest.mark.parametrize(
    ("kind", "changes", "strength"),
    [
        ("feature", {}, 0.5),
        ("score", {"psi": 0.3}, 2.0),
        ("missing", {"effect": -0.3, "threshold": 0.2}, 1.5),
        ("domain", {"effect": 0.56, "threshold": 0.62}, 0.5),
        ("domain", {"effect": 0.41, "threshold": 0.62}, 0.0),
        ("feature", {"psi": None, "effect": None}, None),
        ("feature", {"threshold": None}, None),
    ],
)
def test_how_far_a_comparison_went_is_measured_by_its_own_threshold(
    kind: str, changes: dict[str, Any], strength: float | None
) -> None:
    found = drift_strength(sample.drift_row("x", LAST, kind=kind, share=0.5, **changes))
    assert found == (None if strength is None else pytest.approx(strength))


def days_back(count: int) -> list[date]:
    return [LAST - timedelta(days=count - 1 - at) for at in range(count)]


def test_the_band_of_a_count_knows_the_weekday_and_takes_two_weeks() -> None:
    days = days_back(120)
    counts: list[int | None] = [200 if day.weekday() < 5 else 80 for day in days]
    bands = count_bands(days, counts)
    assert all(band.low is None for band in bands[:14])
    saturday, monday = bands[-2], bands[-7]
    assert saturday.low is not None
    assert saturday.high is not None
    assert saturday.low < 80 < saturday.high < 200
    assert monday.place(200) == "usual"
    assert monday.place(80) == "low"
    assert saturday.place(200) == "high"
    assert bands[0].place(200) == "unknown"
    assert newest_count_band(days, counts) == bands[-1]
    assert count_bands([], []) == []


def test_the_band_of_a_count_sees_nothing_later_and_ignores_what_is_unknown() -> None:
    days = days_back(80)
    counts: list[int | None] = [100 + at % 7 for at in range(80)]
    assert count_bands(days, counts)[:79] == count_bands(days[:79], counts[:79])
    assert count_bands(days, counts)[-1] == count_bands(days, [*counts[:-1], 9_000])[-1]
    gap = [None if at == 60 else count for at, count in enumerate(counts)]
    without = days[:60] + days[61:], counts[:60] + counts[61:]
    assert count_bands(days, gap)[-1] == count_bands(*without)[-1]


def test_a_table_that_was_always_empty_is_usually_empty() -> None:
    band = count_bands(days_back(60), [0] * 60)[-1]
    assert band == Band(low=0.0, high=band.high)
    assert band.place(0) == "usual"


def means_frame(values: list[float], *, leads: int = 100, spread: float | None = 0.05) -> pl.DataFrame:
    days = days_back(len(values))
    return pl.DataFrame(
        {"day": days, "leads": leads, "mean_probability": values, "score_spread": spread},
        schema_overrides={"score_spread": pl.Float64},
    )


def test_the_band_of_a_mean_is_wider_for_a_day_of_few_leads() -> None:
    values = [0.08] * 30
    bands = mean_bands(means_frame(values))
    assert all(band.low is None for band in bands[:14])
    last = bands[-1]
    assert last.low == pytest.approx(0.08 - 1.96 * 0.005, abs=1e-5)
    few = mean_bands(means_frame(values, leads=4))[-1]
    assert few.low is not None
    assert last.low is not None
    assert few.low < last.low
    assert mean_bands(means_frame([*values[:-1], 0.2]))[-1] == last
    assert last.place(0.2) == "high"


def test_without_a_spread_the_band_of_a_mean_is_what_days_differ_by() -> None:
    values = [0.07 if at % 2 else 0.09 for at in range(40)]
    band = mean_bands(means_frame(values, spread=None))[-1]
    assert (band.low, band.high) == pytest.approx((0.07, 0.09))


def test_weekends_that_score_otherwise_are_not_odd() -> None:
    values = [0.05 if day.weekday() >= 5 else 0.09 for day in days_back(60)]
    bands = mean_bands(means_frame(values))
    assert {band.place(value) for band, value in zip(bands[14:], values[14:], strict=True)} == {"usual"}


def test_one_odd_day_before_does_not_make_the_next_one_usual() -> None:
    values = [0.08] * 40 + [0.2] + [0.08] * 3
    assert mean_bands(means_frame(values))[-1].place(0.12) == "high"


def test_the_usual_value_of_a_lead_needs_two_weeks_and_leaves_out_the_day_itself() -> None:
    frame = sample.days_frame(20).with_columns((pl.col("leads") * 15.0).alias("expected_value"))
    assert usual_value_per_lead(frame, before=LAST) == pytest.approx(15.0)
    odd = frame.with_columns(
        pl.when(pl.col("day") == LAST).then(1e6).otherwise("expected_value").alias("expected_value")
    )
    assert usual_value_per_lead(odd, before=LAST) == pytest.approx(15.0)
    assert usual_value_per_lead(frame.head(10), before=LAST) is None
