"""Whole experiments, thousands of them: false alarms, power and coverage are what the plan says.

Outcomes are drawn week by week and judged at every planned look by the code that judges real results
(``effects.effect``, ``decision.ending``); that ``analyse`` gives the same is a test of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from elv_pipeline.decisions.experiments.allocation import Allocation
from elv_pipeline.decisions.experiments.analysis import analyse, estimate
from elv_pipeline.decisions.experiments.decision import Ending, ending
from elv_pipeline.decisions.experiments.design import Volume, rate_baseline
from elv_pipeline.decisions.experiments.effects import Effect, effect
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.decisions.experiments.sample_ratio import ratio_p_value
from elv_pipeline.decisions.experiments.stagewise import chance_of_more
from elv_pipeline_tests.decisions.experiment_data import (
    BOOKED,
    MINUTES,
    clustered,
    design_of,
    plan_of,
    result_of,
)

RUNS = 2_000
PLAN = plan_of()
RARE_AND_UNEVEN = plan_of(
    design_of(
        volume=Volume(weekly_units=1_000),
        primary=replace(BOOKED, baseline=rate_baseline(300, units=10_000)),
        allocation=Allocation(salt="s", treatment_share=0.2),
    )
)
CLUSTERED = plan_of(clustered())
MEAN = plan_of(design_of(primary=MINUTES, volume=Volume(weekly_units=200)))


@dataclass(frozen=True)
class Run:
    """A simulated experiment."""

    ending: Ending
    effects: tuple[Effect, ...]


def judged(plan: ExperimentPlan, effects: Iterator[Effect | None]) -> Run:
    known = tuple(found for found in effects if found is not None)
    assert len(known) == len(plan.looks)
    information = tuple(look.information for look in plan.looks)
    return Run(ending(plan.design, information=information, effects=known, last=True), known)


@cache
def single(plan: ExperimentPlan, *, shift: float = 0.0, seed: int = 1, count: int = RUNS) -> tuple[Run, ...]:
    """Experiments with single units; a look sees the weeks that are mature."""
    generator = np.random.default_rng(seed)
    metric, total = plan.design.primary, round(plan.units)
    runs = []
    for _ in range(count):
        treated = generator.random(total) < plan.design.allocation.treatment_share
        mean = metric.baseline.value + shift * treated
        rate = metric.kind == "rate"
        outcome = (generator.random(total) < mean).astype(float) if rate else mean + generator.normal(0, 8, total)
        until = [round(look.units) for look in plan.looks]
        found = (effect(outcome[:n], np.ones(n), treated[:n], rate=rate) for n in until)
        runs.append(judged(plan, found))
    return tuple(runs)


@cache
def in_clusters(
    plan: ExperimentPlan, *, shift: float = 0.0, alike: float = 0.02, variation: float = 0.0, seed: int = 1
) -> tuple[Run, ...]:
    """Experiments with forty organisations that grow by the week, twenty of them treated."""
    generator = np.random.default_rng(seed)
    count, weeks = int(plan.design.volume.clusters or 0), plan.enrolment_weeks
    weights = np.exp(variation * generator.normal(size=count))
    runs = []
    for _ in range(RUNS):
        treated = generator.permutation(count) < count // 2
        rates = plan.design.primary.baseline.value + shift * treated
        chance = generator.beta(rates * (1 - alike) / alike, (1 - rates) * (1 - alike) / alike)
        new = generator.multinomial(round(plan.units / weeks), weights / weights.sum(), size=weeks)
        sums, sizes = generator.binomial(new, chance).cumsum(axis=0), new.cumsum(axis=0)
        found = (effect(sums[w].astype(float), sizes[w].astype(float), treated, rate=True) for w in range(weeks))
        runs.append(judged(plan, found))
    return tuple(runs)


def shares(runs: tuple[Run, ...]) -> dict[str, float]:
    return {decision: count / len(runs) for decision, count in Counter(run.ending.decision for run in runs).items()}


def alarms(runs: tuple[Run, ...]) -> float:
    return 1 - shares(runs)["not shown"]


@pytest.mark.parametrize("plan", [PLAN, MEAN], ids=["rate", "mean"])
def test_four_to_six_percent_of_a_a_experiments_alarm(plan: ExperimentPlan) -> None:
    assert 0.04 <= alarms(single(plan)) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_rare_rate_in_uneven_arms_alarms_no_more(seed: int) -> None:
    assert 0.04 <= alarms(single(RARE_AND_UNEVEN, seed=seed)) <= 0.06


def test_four_to_six_percent_of_clustered_a_a_experiments_alarm() -> None:
    assert 0.04 <= alarms(in_clusters(CLUSTERED)) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alike", "variation"), [(0.04, 0.0), (0.005, 0.0), (0.02, 0.8)], ids=["more alike", "less alike", "uneven"]
)
def test_a_wrong_guess_about_clusters_does_little_harm(alike: float, variation: float) -> None:
    """The planned likeness sets the information of a look, not the standard error."""
    assert 0.035 <= alarms(in_clusters(CLUSTERED, alike=alike, variation=variation)) <= 0.065


def test_members_of_clusters_taken_for_single_units_would_alarm_far_too_often() -> None:
    """The test of the clustered A/A runs can fail: so it would without cluster-robust errors."""
    wrong = 0
    for run in in_clusters(CLUSTERED, alike=0.04):
        last = run.effects[-1]
        naive = replace(last, in_clusters=False, freedom=np.inf)
        wrong += abs(naive.z()) > 1.96
    assert wrong / RUNS > 0.15


def test_harm_is_seen_as_soon_as_benefit_is_late() -> None:
    """By the second of five looks two fifths of the harm alarms have come, and hardly any of the others."""
    runs = (*single(PLAN), *single(MEAN))
    early = [run.ending.decision for run in runs if run.ending.over and run.ending.look <= 1]
    assert early.count("stop for harm") / len(runs) == pytest.approx(0.01, abs=0.005)
    assert early.count("better") / len(runs) < 0.002


@pytest.mark.parametrize("plan", [PLAN, MEAN], ids=["rate", "mean"])
def test_the_planned_effect_is_found_with_the_planned_power(plan: ExperimentPlan) -> None:
    assert shares(single(plan, shift=plan.detectable, seed=2))["better"] == pytest.approx(0.8, abs=0.03)


def test_the_planned_effect_is_found_in_clusters() -> None:
    """A little more often than planned: the plan pays for few clusters with Student's t at every look."""
    found = shares(in_clusters(CLUSTERED, shift=CLUSTERED.detectable, seed=2))["better"]
    assert 0.775 <= found <= 0.86


def test_planned_harm_is_found_as_well() -> None:
    found = shares(single(MEAN, shift=-MEAN.detectable, seed=3))
    assert found.get("stop for harm", 0) + found.get("worse", 0) == pytest.approx(0.8, abs=0.07)
    assert found.get("better", 0) < 0.001


def test_it_takes_as_long_as_planned() -> None:
    for shift, planned in (
        (0.0, PLAN.expected_weeks_without_effect),
        (PLAN.detectable, PLAN.expected_weeks_with_effect),
    ):
        runs = single(PLAN, shift=shift, seed=2 if shift else 1)
        weeks = np.mean([PLAN.looks[run.ending.look].week for run in runs])
        assert weeks == pytest.approx(planned, abs=0.1)


def covered(runs: tuple[Run, ...], *, shift: float) -> float:
    """Share of runs of a mean whose interval holds the true difference.

    It does where the p-value of that difference, by stage-wise ordering, is inside of 95 %; searching for the ends in
    thousands of runs would take minutes.
    """
    inside = []
    for run in runs:
        path = run.ending.bounds.until(run.ending.look + 1)
        last = run.effects[run.ending.look]
        z = run.ending.z[run.ending.look]
        drift = shift / last.standard_error() / np.sqrt(path.information[-1])
        inside.append(0.025 < chance_of_more(path, z=z, drift=float(drift)) < 0.975)
    return float(np.mean(inside))


@pytest.mark.parametrize("multiple", [0.0, 0.5, 1.0, 1.5])
def test_intervals_cover_the_truth_in_95_percent(multiple: float) -> None:
    shift = multiple * MEAN.detectable
    runs = single(MEAN, shift=shift, seed=4, count=1_000)
    assert covered(runs, shift=shift) == pytest.approx(0.95, abs=0.02)


def test_plain_intervals_would_cover_less() -> None:
    """The adjustment is not idle: after stopping early plain intervals miss more often, and on one side."""
    shift = MEAN.detectable
    runs = [run for run in single(MEAN, shift=shift, seed=4, count=1_000) if run.ending.look < 3]
    too_high = np.mean([run.effects[run.ending.look].z(against=shift) > 1.96 for run in runs])
    assert len(runs) > 200
    assert too_high > 0.04


@pytest.mark.slow
@pytest.mark.parametrize("plan", [PLAN, MEAN], ids=["rate", "mean"])
def test_the_ends_themselves_cover_and_the_estimate_is_median_unbiased(plan: ExperimentPlan) -> None:
    shift = plan.detectable
    inside, above = [], []
    for run in single(plan, shift=shift, seed=5, count=1_000):
        look = run.ending.look
        path = run.ending.bounds.until(look + 1)
        found = estimate(run.effects[look], path, metric=plan.design.primary, plan=plan, over=True)
        assert found.low is not None
        assert found.high is not None
        inside.append(found.low < shift < found.high)
        above.append(found.difference > shift)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.021)
    assert np.mean(above) == pytest.approx(0.5, abs=0.05)


def test_the_sample_ratio_check_alarms_as_often_as_it_says() -> None:
    """Looked at every week; at a stated rate of 2 % so that 4,000 runs show it."""
    plan = plan_of(design_of(sample_ratio_alpha=0.04, volume=Volume(weekly_units=3_000)))
    generator = np.random.default_rng(6)
    alarmed = 0
    for _ in range(4_000):
        treatment = generator.binomial(3_000, 0.5, size=plan.enrolment_weeks).cumsum()
        totals = 3_000 * np.arange(1, plan.enrolment_weeks + 1)
        looks = zip(totals[1:], treatment[1:], strict=True)  # the first look is in week two
        alarmed += any(ratio_p_value(n - k, k, share=0.5) < plan.sample_ratio_p for n, k in looks)
    assert 0.012 < alarmed / 4_000 < 0.024


def test_the_analysis_of_a_file_is_the_analysis_that_was_simulated() -> None:
    for seed, shift in ((1, 0.0), (2, 0.05), (3, -0.05)):
        rows = result_of(PLAN, effect=shift, seed=seed)
        found = analyse(rows, PLAN)
        treated = (rows["arm"] == "treatment").to_numpy()
        outcome = rows["booked_call"].to_numpy()
        until = [sum(look.counted) for look in found.looks]
        effects = tuple(effect(outcome[:n], np.ones(n), treated[:n], rate=True) for n in until)
        information = tuple(look.information for look in found.looks)
        known = [one for one in effects if one is not None]
        told = ending(PLAN.design, information=information, effects=known, last=True)
        assert (told.decision, told.look) == (found.decision, found.ending.look if found.ending else None)
        assert told.z == pytest.approx(found.ending.z if found.ending else ())
