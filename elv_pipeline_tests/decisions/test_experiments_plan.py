"""A plan says what it can find, keeps to it, and refuses what cannot be found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from scipy.stats import norm

from elv_pipeline.decisions.experiments.allocation import Allocation
from elv_pipeline.decisions.experiments.design import (
    Baseline,
    Guardrail,
    Metric,
    Volume,
    mean_baseline,
    rate_baseline,
)
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, from_document, futility_bounds, make_plan
from elv_pipeline.decisions.experiments.plan_words import plan_lines
from elv_pipeline.decisions.experiments.sequential import boundaries
from elv_pipeline.errors import ConfigError
from elv_pipeline_tests.decisions.experiment_data import (
    BOOKED,
    MINUTES,
    UNSUBSCRIBED,
    clustered,
    design_of,
    guarded,
    plan_of,
)


def written(plan: ExperimentPlan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(plan.document()))
    return document


def test_one_look_gives_the_sample_size_of_the_textbook() -> None:
    """Two means, difference 1, sd 8, power 0.8: 2 * (1.96 + 0.8416)^2 * 64 = 1,005 an arm."""
    plan = make_plan(design_of(primary=MINUTES, looks=1, enrolment_weeks=5, volume=Volume(weekly_units=402)))
    assert plan.detectable == pytest.approx(1.0, abs=0.001)
    assert plan.inflation == pytest.approx(1.0, abs=1e-6)


def test_one_look_at_rates_gives_the_sample_size_of_the_textbook() -> None:
    """10 % against 14 %, power 0.8: (1.96 + 0.8416)^2 * (0.09 + 0.1204) / 0.0016 = 1,032 an arm."""
    plan = make_plan(design_of(looks=1, enrolment_weeks=4, volume=Volume(weekly_units=516)))
    assert plan.detectable == pytest.approx(0.04, abs=1e-4)


def test_the_looks_are_weekly_and_begin_when_a_week_is_mature() -> None:
    plan = plan_of(design_of(window_days=14))
    assert [look.week for look in plan.looks] == [3, 4, 5, 6, 7]
    assert [look.units for look in plan.looks] == [400, 800, 1_200, 1_600, 2_000]
    assert [look.enrolled for look in plan.looks] == [1_200, 1_600, 2_000, 2_000, 2_000]
    assert [look.upper_z for look in plan.looks] == pytest.approx(boundaries((0.2, 0.4, 0.6, 0.8, 1.0)).upper)


def test_fewer_looks_are_spread_evenly_and_end_at_the_end() -> None:
    plan = plan_of(design_of(enrolment_weeks=9, looks=3))
    assert [look.week for look in plan.looks] == [4, 7, 10]


def test_a_look_says_the_difference_it_needs() -> None:
    for look in plan_of().looks:
        error = math.sqrt((0.09 + _spread(0.1 + plan_of().detectable)) * 2 / look.units)
        assert look.better_from == pytest.approx(look.upper_z * error)
        assert look.harm_from == pytest.approx(look.lower_z * error)
        assert look.upper_p == pytest.approx(2 * norm.sf(look.upper_z))


def _spread(rate: float) -> float:
    return rate * (1 - rate)


def test_the_power_at_the_end_is_the_power_asked_for() -> None:
    assert plan_of().looks[-1].found_by_now == pytest.approx(0.8, abs=1e-6)
    assert plan_of(design_of(power=0.9)).detectable > plan_of().detectable


def test_the_shortest_duration_is_the_shortest() -> None:
    plan = plan_of(design_of(enrolment_weeks=None, smallest_effect=0.035))
    assert plan.detectable <= 0.035
    one_week_less = plan_of(design_of(enrolment_weeks=plan.enrolment_weeks - 1))
    assert one_week_less.detectable > 0.035
    assert plan.enrolment_weeks == 7


def test_more_looks_cost_a_little() -> None:
    assert 1 < plan_of(design_of(looks=2)).inflation < plan_of().inflation < 1.03


def test_an_uneven_allocation_finds_less() -> None:
    uneven = plan_of(design_of(allocation=Allocation(salt="s", treatment_share=0.2)))
    assert uneven.detectable > 1.2 * plan_of().detectable


def test_an_uncertain_baseline_is_passed_on() -> None:
    plan = plan_of(design_of(primary=replace(BOOKED, baseline=rate_baseline(20, units=200))))
    assert plan.detectable_low is not None
    assert plan.detectable_high is not None
    assert plan.detectable_low < 0.9 * plan.detectable < 0.99 * plan.detectable_high
    sure = plan_of(design_of(primary=replace(BOOKED, baseline=rate_baseline(20_000, units=200_000))))
    assert sure.detectable_high == pytest.approx(sure.detectable, rel=0.01)


def test_a_metric_that_should_fall_is_planned_downwards() -> None:
    falls = plan_of(design_of(primary=replace(BOOKED, better="lower")))
    assert falls.detectable < plan_of().detectable  # a rate varies less the lower it is


def test_clusters_that_are_alike_tell_less() -> None:
    plan = plan_of(clustered())
    assert plan.effective_units == pytest.approx(2_000 / (1 + 49 * 0.02))
    assert plan.detectable > 1.4 * plan_of().detectable
    uneven = replace(clustered().volume, size_variation=0.8)
    assert plan_of(replace(clustered(), volume=uneven)).effective_units < plan.effective_units


def test_clusters_that_come_new_tell_more_every_week() -> None:
    volume = Volume(weekly_units=400, cluster_size=20, intracluster_correlation=0.02)
    plan = plan_of(design_of(volume=volume, cluster="campaign"))
    assert [look.information for look in plan.looks] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_history_that_explains_something_finds_more() -> None:
    plan = plan_of(design_of(primary=MINUTES, history=("minutes_before",), variance_reduction=0.36))
    assert plan.detectable == pytest.approx(0.8 * plan_of(design_of(primary=MINUTES)).detectable, rel=1e-6)


def test_expectations_lie_between_the_first_look_and_the_end() -> None:
    plan = plan_of()
    assert 800 < plan.expected_units_with_effect < plan.expected_units_without_effect < 2_000
    assert 2 < plan.expected_weeks_with_effect < plan.expected_weeks_without_effect < 6


def test_advice_to_stop_costs_little_power_and_is_not_binding() -> None:
    plan = plan_of()
    assert 0.75 < plan.power_if_futility_is_followed < 0.8
    assert plan.looks[-1].futile_z is None
    bounds = boundaries((0.5, 1.0))
    advice = futility_bounds(bounds, drift=2.8)[0]
    assert advice is not None
    missing = (bounds.upper[1] - advice * math.sqrt(0.5) - 2.8 * 0.5) / math.sqrt(0.5)
    assert norm.sf(missing) == pytest.approx(0.2)


def test_guardrails_have_a_power() -> None:
    assert plan_of(guarded()).guardrail_power[0] == pytest.approx(0.88, abs=0.01)
    narrow = design_of(guardrails=(Guardrail(metric=UNSUBSCRIBED, margin=0.001),))
    assert plan_of(narrow).guardrail_power[0] < 0.1
    assert any("That is little" in line for line in plan_lines(plan_of(narrow)))


@pytest.mark.parametrize(
    "design",
    [design_of(), guarded(), clustered(starts_at=None), design_of(primary=MINUTES, history=("a", "b"))],
    ids=["rate", "guarded", "clustered", "history"],
)
def test_a_plan_survives_its_json(design: Any) -> None:
    plan = plan_of(design)
    assert from_document(written(plan)) == plan
    assert from_document(written(plan)).key == plan.key


def test_equal_designs_have_equal_keys_and_other_ones_have_not() -> None:
    assert plan_of(design_of(volume=Volume(weekly_units=400.0))).key == plan_of().key
    assert plan_of(design_of(allocation=Allocation(salt="other"))).key != plan_of().key


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("derived", "detectable"), 0.02),
        (("derived", "sample_ratio_p"), 0.0),
        (("derived", "looks", 2, "upper_z"), 1.96),
        (("derived", "looks"), []),
    ],
)
def test_a_plan_that_was_edited_is_refused(place: tuple[Any, ...], value: Any) -> None:
    document = written(plan_of())
    entry: Any = document
    for step in place[:-1]:
        entry = entry[step]
    entry[place[-1]] = value
    with pytest.raises(ConfigError, match=f"{place[1]} is not what follows"):
        from_document(document)


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (("design", "alfa"), 0.01, "design.alfa"),
        (("design", "alpha"), 0.5, "alpha must lie"),
        (("design", "primary", "kind"), "ratio", "design.primary.kind"),
        (("design", "allocation", "salt"), "", "salt is empty"),
        (("kind",), "something", "not a plan"),
    ],
)
def test_a_wrong_key_is_named(place: tuple[str, ...], value: Any, match: str) -> None:
    document = written(plan_of())
    entry: Any = document
    for step in place[:-1]:
        entry = entry[step]
    entry[place[-1]] = value
    with pytest.raises(ConfigError, match=match):
        from_document(document)


def test_what_takes_too_long_is_refused_with_what_would_be_possible() -> None:
    with pytest.raises(ConfigError, match=r"0\.005 in booked_call cannot be found within 12 weeks: with 4,400 units"):
        plan_of(design_of(enrolment_weeks=None, smallest_effect=0.005))
    with pytest.raises(ConfigError, match="take 15 weeks; longest_weeks is 12"):
        plan_of(design_of(enrolment_weeks=14))
    with pytest.raises(ConfigError, match="at least 2 weeks of enrolment"):
        plan_of(design_of(enrolment_weeks=None, smallest_effect=0.05, window_days=77))


def test_a_time_that_is_too_short_for_the_effect_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"5 weeks of enrolment find differences from 0\.041.*smallest_effect is 0\.02"
    ):
        plan_of(design_of(smallest_effect=0.02))


def test_too_few_clusters_are_refused() -> None:
    few = Volume(weekly_units=400, clusters=18, intracluster_correlation=0.02)
    with pytest.raises(ConfigError, match=r"9\.0 organisations are expected in the smaller arm; at least 10"):
        plan_of(design_of(volume=few, cluster="organisation"))
    with pytest.raises(ValueError, match="least_clusters must be at least 5"):
        design_of(volume=few, cluster="organisation", least_clusters=2)


def test_more_weeks_do_not_make_up_for_few_clusters() -> None:
    volume = Volume(weekly_units=4_000, clusters=24, intracluster_correlation=0.2)
    with pytest.raises(ConfigError, match="cannot be found within 50 weeks"):
        plan_of(
            design_of(
                volume=volume, cluster="organisation", enrolment_weeks=None, smallest_effect=0.05, longest_weeks=50
            )
        )


def test_too_few_events_are_refused() -> None:
    rare = replace(BOOKED, baseline=rate_baseline(10, units=2_000))
    with pytest.raises(ConfigError, match=r"5\.0 enrollments of the smaller arm are expected to decide"):
        plan_of(design_of(primary=rare))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"enrolment_weeks": None}, "smallest_effect, enrolment_weeks"),
        ({"smallest_effect": -0.1}, "smallest_effect"),
        ({"cluster": "organisation"}, "cluster names what is allocated whole"),
        ({"variance_reduction": 0.3}, "without history"),
        ({"history": ("arm",)}, "no metric or covariate"),
        ({"history": ("booked_call",)}, "different names"),
        ({"starts_at": datetime(2026, 3, 2)}, "offset"),  # noqa: DTZ001
        ({"stages": (0.5, 0.2, 1.0)}, "stages"),
        ({"stages": (0.5,)}, "stages"),
        ({"power": 0.3}, "power"),
    ],
)
def test_designs_that_contradict_themselves_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        design_of(**changes)


def test_parts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        Guardrail(metric=UNSUBSCRIBED, margin=0.0)
    with pytest.raises(ValueError, match="arm"):
        Metric(name="arm", words="x", kind="rate", baseline=BOOKED.baseline)
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(MINUTES, kind="rate")
    with pytest.raises(ValueError, match="both given"):
        Volume(weekly_units=10, clusters=3, cluster_size=3)
    with pytest.raises(ValueError, match="without clusters"):
        Volume(weekly_units=10, intracluster_correlation=0.1)
    with pytest.raises(ValueError, match="some of both kinds"):
        rate_baseline(0, units=100)
    with pytest.raises(ValueError, match="outside of its interval"):
        Baseline(value=0.1, low=0.2, high=0.3, sd=0.3, sd_low=0.2, sd_high=0.4)


def test_baselines_have_the_textbook_s_intervals() -> None:
    rate = rate_baseline(15, units=100)  # Wilson: 0.0931 to 0.2328
    assert (rate.low, rate.high) == pytest.approx((0.0931, 0.2328), abs=1e-4)
    mean = mean_baseline(20.0, sd=8.0, units=25)  # chi-square, 24: 12.401 and 39.364
    assert (mean.sd_low, mean.sd_high) == pytest.approx((6.247, 11.129), abs=1e-3)


def test_the_words_say_what_a_manager_needs() -> None:
    text = "\n".join(plan_lines(plan_of(guarded())))
    for needed in (
        "A shorter first message books more calls.",
        "salt 'shorter-opener-2026-03'",
        "5 weeks of enrolment (2,000 enrollments), the answer after 6 weeks",
        "+4.12 points in 80%",
        "week  2:       400 known",
        "worse than +2.00 points",
        "Roll back at once",
        "25%, 50%, 100%",
        "a person approves",
    ):
        assert needed in text
