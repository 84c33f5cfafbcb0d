"""A verdict trusts the arms first, sees only what was known, and says what it means."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.experiments.allocation import Allocation
from elv_pipeline.decisions.experiments.analysis import Analysis, analyse
from elv_pipeline.decisions.experiments.analysis_words import actions, analysis_lines, headline
from elv_pipeline.decisions.experiments.decision import bounds_of, ending, guardrail_state
from elv_pipeline.decisions.experiments.effects import Effect
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.decisions.experiments.sample_ratio import ratio_p_value
from elv_pipeline.decisions.experiments.sequential import exit_probabilities
from elv_pipeline.decisions.experiments.stagewise import adjusted
from elv_pipeline_tests.decisions.experiment_data import (
    BOOKED,
    MINUTES,
    START,
    clustered,
    design_of,
    guarded,
    plan_of,
    result_of,
)

PLAN = plan_of()
GUARDED = plan_of(guarded())
ELSEWHERE = plan_of(design_of(allocation=Allocation(salt="s", method="elsewhere")))
WITH_HISTORY = plan_of(design_of(primary=MINUTES, history=("minutes_before",)))
POSITIVE = pl.col("booked_call") == 1


def text(analysis: Analysis) -> str:
    return "\n".join(analysis_lines(analysis))


def in_elsewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """Arms that alternate, so that a test can bend them."""
    arms = pl.Series("arm", ["control", "treatment"] * len(rows)).head(len(rows))
    return rows.with_columns(arms)


def test_a_planted_benefit_is_found() -> None:
    found = analyse(result_of(PLAN, effect=0.06, seed=3), PLAN)
    assert (found.decision, found.over) == ("better", True)
    assert found.effect is not None
    assert found.effect.low is not None
    assert found.effect.low > 0
    assert found.effect.low < 0.06 < (found.effect.high or 0)
    assert found.effect.relative_low is not None
    assert found.effect.relative_low > 0
    assert found.effect.p_value is not None
    assert found.effect.p_value < 0.05
    assert headline(found) == "The treatment is better."
    assert actions(found) == ("roll out in stages: 25%, 50%, 100%.",)


def test_planted_harm_stops_early() -> None:
    found = analyse(result_of(PLAN, effect=-0.07, seed=3), PLAN)
    assert found.decision == "stop for harm"
    assert found.deciding is not None
    assert found.deciding.week < PLAN.total_weeks
    assert "roll back at once: the present first message for everybody." in text(found)


def test_harm_that_is_seen_at_the_end_is_worse() -> None:
    plan = plan_of(design_of(looks=1))
    found = analyse(result_of(plan, effect=-0.07, seed=3), plan)
    assert (found.decision, found.over) == ("worse", True)


def test_less_is_better_where_the_plan_says_so() -> None:
    plan = plan_of(design_of(primary=replace(BOOKED, better="lower")))
    rows = result_of(plan, effect=-0.06, seed=3)
    found = analyse(rows, plan)
    assert found.decision == "better"
    assert found.effect is not None
    assert found.effect.high is not None
    assert found.effect.high < 0
    assert analyse(rows, PLAN).decision == "stop for harm"


def test_no_difference_is_not_shown_and_not_called_equal() -> None:
    found = analyse(result_of(PLAN, seed=1), PLAN)
    assert (found.decision, found.over) == ("not shown", True)
    assert "not the same as: there is none" in text(found)
    assert found.effect is not None
    assert (found.effect.low or 0) < 0 < (found.effect.high or 0)


def test_before_the_end_nothing_is_said_but_go_on() -> None:
    found = analyse(result_of(PLAN, effect=0.03, seed=1, until_week=3), PLAN)
    assert (found.decision, found.over) == ("not shown", False)
    assert found.effect is not None
    assert found.effect.method == "repeated"
    assert found.effect.p_value is None
    assert "goes on until week 6" in headline(found)
    assert actions(found)[0].startswith("change nothing")


def test_before_the_first_look_there_is_no_verdict() -> None:
    rows = result_of(PLAN, effect=0.5, until_week=1)
    assert analyse(rows, PLAN).decision == "no verdict"
    assert "no look is due yet" in headline(analyse(rows, PLAN))


def test_asking_between_two_looks_is_no_look() -> None:
    """The export of Friday gives what the look of Monday gave."""
    full = result_of(PLAN, effect=0.03, seed=5)
    answers = set()
    for hours in (1, 60, 150):
        until = START + timedelta(weeks=4, hours=hours)
        rows = full.filter(pl.col("assigned_at") <= until).with_columns(observed_at=pl.lit(until))
        found = analyse(rows, PLAN)
        answers.add(json.dumps(found.document()["effect"]))
        assert [look.week for look in found.looks] == [2, 3, 4]
    assert len(answers) == 1


def test_maturity_is_decided_by_age_alone() -> None:
    """Early positives of young units change nothing, in whatever number."""
    rows = result_of(PLAN, seed=1, until_week=4)
    look = START + timedelta(weeks=4)
    young = pl.col("assigned_at") + timedelta(days=7) > look
    eager = rows.with_columns(
        booked_call=pl.when(young & (pl.col("arm") == "treatment")).then(1.0).otherwise("booked_call")
    )
    assert eager["booked_call"].sum() > rows["booked_call"].sum() + 100
    assert analyse(eager, PLAN).document() == analyse(rows, PLAN).document()
    assert analyse(rows, PLAN).looks[-1].immature == rows.filter(young & (pl.col("assigned_at") <= look)).height


def test_the_future_changes_no_past_look() -> None:
    """What is read at a look is the same in the export of that week and in the last one."""
    last = analyse(result_of(PLAN, seed=8), PLAN).document()["looks"]
    for week in (3, 4, 5):
        then = analyse(result_of(PLAN, seed=8, until_week=week), PLAN).document()["looks"]
        for early, late in zip(then, last, strict=False):
            assert early["counted"] == late["counted"]
            assert early["information"] == late["information"]
            assert early["z"] == pytest.approx(late["z"])


def test_a_sample_ratio_mismatch_forbids_a_verdict() -> None:
    rows = in_elsewhere(result_of(ELSEWHERE, effect=0.0, seed=2))
    lost = (pl.col("arm") == "treatment") & (pl.int_range(pl.len()) % 8 == 1)
    found = analyse(rows.filter(~lost), ELSEWHERE)
    assert (found.decision, found.effect) == ("no verdict", None)
    assert "Sample-ratio mismatch in week" in text(found)
    assert "find out what happened to the arms" in text(found)
    assert analyse(rows, ELSEWHERE).decision != "no verdict"


def test_outcomes_that_are_missing_in_one_arm_forbid_a_verdict() -> None:
    rows = in_elsewhere(result_of(ELSEWHERE, seed=2))
    hidden = (pl.col("arm") == "treatment") & ~POSITIVE & (pl.int_range(pl.len()) % 4 == 1)
    found = analyse(rows.with_columns(booked_call=pl.when(~hidden).then("booked_call")), ELSEWHERE)
    assert found.decision == "no verdict"
    assert "counted" in found.refusals[0]
    assert found.looks[-1].missing > 300


def test_the_sample_ratio_is_that_of_clusters_where_these_are_allocated() -> None:
    plan = plan_of(clustered())
    look = analyse(result_of(plan), plan).looks[-1]
    assert sum(look.enrolled) == 40
    assert sum(look.counted) == 2_000


def test_the_sample_ratio_p_value_is_exact_for_few_and_normal_for_many() -> None:
    assert ratio_p_value(600, 400, share=0.5) == pytest.approx(2.7e-10, rel=0.05)
    assert ratio_p_value(10_000, 10_300, share=0.5) == pytest.approx(ratio_p_value(10_300, 10_000, share=0.5))
    assert ratio_p_value(0, 0, share=0.5) == 1


def test_history_knows_the_future_and_is_found_out() -> None:
    """A covariate that was counted after the allocation carries the effect: it would be explained away."""
    rows = result_of(WITH_HISTORY, effect=2.0, seed=4, with_history=0.6)
    assert analyse(rows, WITH_HISTORY).decision == "better"
    leaked = rows.with_columns(minutes_before=pl.col("minutes") + 0.5 * pl.col("minutes_before"))
    found = analyse(leaked, WITH_HISTORY)
    assert (found.decision, found.effect) == ("no verdict", None)
    assert "differed before the experiment: minutes_before" in text(found)


def test_history_says_how_much_it_took_away() -> None:
    plain = plan_of(design_of(primary=MINUTES))
    rows = result_of(WITH_HISTORY, seed=4, with_history=0.6)
    with_history, without = (analyse(rows, plan).effect for plan in (WITH_HISTORY, plain))
    assert with_history is not None
    assert without is not None
    assert with_history.variance_reduction == pytest.approx(0.36, abs=0.05)
    assert without.variance_reduction is None
    narrower = ((with_history.high or 0) - (with_history.low or 0)) / ((without.high or 0) - (without.low or 0))
    assert narrower == pytest.approx(0.8, abs=0.04)


def test_units_without_history_are_not_thrown_away() -> None:
    rows = result_of(WITH_HISTORY, effect=1.5, seed=4, with_history=0.6)
    new = pl.int_range(pl.len()) % 3 == 0
    partly = rows.with_columns(pl.when(~new).then(name).alias(name) for name in ("minutes_before", "history_until"))
    found = analyse(partly, WITH_HISTORY)
    assert sum(found.looks[-1].counted) == len(rows)
    assert found.effect is not None
    assert found.effect.variance_reduction == pytest.approx(0.24, abs=0.05)


def test_a_broken_guardrail_stops_the_experiment() -> None:
    rows = result_of(GUARDED, effect=0.03, seed=6)
    bad = (pl.col("arm") == "treatment") & (pl.int_range(pl.len()) % 8 == 0)
    found = analyse(rows.with_columns(unsubscribed=pl.when(bad).then(1.0).otherwise("unsubscribed")), GUARDED)
    assert found.decision == "stop for harm"
    assert found.guardrails[0].state == "broken"
    assert headline(found) == "Stop: the treatment harms unsubscribed."


def test_better_with_an_open_guardrail_is_not_rolled_out() -> None:
    rows = result_of(GUARDED, effect=0.08, seed=6, until_week=4)
    found = analyse(rows, GUARDED)
    assert found.decision == "better"
    assert found.guardrails[0].state == "open"
    assert actions(found)[0].startswith("do not roll out yet: unsubscribed")


def test_a_guardrail_that_holds_lets_the_roll_out_begin() -> None:
    rows = result_of(GUARDED, effect=0.06, seed=6).with_columns(
        unsubscribed=(pl.int_range(pl.len()) % 50 == 0).cast(pl.Float64)
    )
    found = analyse(rows, GUARDED)
    assert (found.decision, found.guardrails[0].state) == ("better", "held")
    assert "roll out in stages" in text(found)


def test_the_decision_of_a_look_stays_and_later_units_refine_the_estimate() -> None:
    rows = result_of(PLAN, effect=0.09, seed=3)
    found = analyse(rows, PLAN)
    assert found.deciding is not None
    assert found.deciding.week < 6
    assert found.after_stop is not None
    assert found.effect is not None
    assert found.after_stop.low is not None
    assert found.after_stop.high is not None
    width = found.after_stop.high - found.after_stop.low
    assert width < (found.effect.high or 0) - (found.effect.low or 0)
    assert "The decision stays." in text(found)


def test_later_units_take_the_place_of_the_deciding_look() -> None:
    found = analyse(result_of(PLAN, effect=0.06, seed=3), PLAN)
    assert found.ending is not None
    assert found.after_stop is not None
    before = found.judged_looks[: found.ending.look]
    assert len(before) >= 2
    information = (*(look.information for look in before), found.judged_looks[-1].information)
    path = bounds_of(PLAN.design, information=information, last=True)
    assert found.after_stop.p_value == pytest.approx(adjusted(path, z=found.ending.z[-1]).p_value)
    assert found.after_stop.p_value != pytest.approx(
        adjusted(found.ending.bounds, z=found.ending.z[-1]).p_value, rel=1e-3
    )


def test_skipped_looks_leave_more_alpha() -> None:
    rows = result_of(PLAN, seed=1)
    every, some = (analyse(rows, PLAN, weeks=weeks).document()["looks"] for weeks in (None, (4,)))
    assert [look["week"] for look in some] == [4, 6]
    assert some[-1]["upper_z"] < every[-1]["upper_z"]
    with pytest.raises(ValueError, match=r"weeks \[9\] are no looks of this plan"):
        analyse(rows, PLAN, weeks=(9,))


def test_fewer_units_than_planned_still_spend_all_of_alpha() -> None:
    found = analyse(result_of(PLAN, seed=1, weekly=300), PLAN)
    assert found.looks[-1].information == pytest.approx(0.75)
    assert found.ending is not None
    assert sum(side.sum() for side in exit_probabilities(found.ending.bounds)) == pytest.approx(0.05, abs=1e-9)
    assert found.over


def test_more_units_than_planned_end_it_when_the_information_is_there() -> None:
    found = analyse(result_of(PLAN, seed=1, weekly=600), PLAN)
    assert found.deciding is not None
    assert found.deciding.information > 1
    assert (found.deciding.week, found.over, found.decision) == (5, True, "not shown")


def test_a_hopeless_experiment_is_advised_against() -> None:
    found = analyse(result_of(PLAN, effect=-0.02, seed=11, until_week=5), PLAN)
    assert (found.over, found.futile) == (False, True)
    assert "advice, not binding" in actions(found)[0]
    hopeful = analyse(result_of(PLAN, effect=0.04, seed=1, until_week=3), PLAN)
    assert (hopeful.over, hopeful.futile) == (False, False)


def test_a_look_with_hardly_an_event_is_not_judged() -> None:
    rows = result_of(PLAN, seed=1).with_columns(booked_call=(pl.int_range(pl.len()) % 100 == 0).cast(pl.Float64))
    found = analyse(rows, PLAN)
    assert [bool(look.too_little) for look in found.looks] == [True, True, False, False, False]
    assert "not judged: fewer than 10 outcomes" in text(found)


def test_clusters_are_judged_as_clusters() -> None:
    """Organisations that differ by themselves are no effect, however many enrollments they have."""
    plan = plan_of(clustered())
    rows = result_of(plan, seed=1)
    generator = np.random.default_rng(2)
    rates = {f"org-{number}": rate for number, rate in enumerate(generator.beta(1, 4, 40))}
    chance = rows["cluster_id"].replace_strict(rates, return_dtype=pl.Float64).to_numpy()
    rows = rows.with_columns(booked_call=pl.Series(generator.random(len(rows)) < chance).cast(pl.Float64))
    found = analyse(rows, plan)
    assert found.effect is not None
    assert (found.effect.high or 0) - (found.effect.low or 0) > 0.15
    single = analyse(rows, ELSEWHERE).effect
    assert single is not None
    assert (single.high or 0) - (single.low or 0) < 0.12


def test_the_order_of_rows_changes_nothing() -> None:
    rows = result_of(WITH_HISTORY, seed=4, with_history=0.5)
    assert analyse(rows.sample(fraction=1.0, shuffle=True, seed=1), WITH_HISTORY).document() == (
        analyse(rows, WITH_HISTORY).document()
    )


@pytest.mark.parametrize("plan", [PLAN, GUARDED, WITH_HISTORY])
def test_the_document_is_json_and_names_its_plan_and_nobody(plan: ExperimentPlan) -> None:
    document = json.dumps(analyse(result_of(plan, seed=1), plan).document(), allow_nan=False)
    assert json.loads(document)["plan_key"] == plan.key
    assert "e1-" not in document


def _effect_of(difference: float) -> Effect:
    return Effect(
        control=0.1,
        treatment=0.1 + difference,
        control_variance=5e-5,
        treatment_variance=5e-5,
        freedom=1e9,
        clusters=(900, 900),
        plain_means=(0.1, 0.1 + difference),
        plain_variance=1e-4,
    )


@pytest.mark.parametrize(("difference", "state"), [(0.0, "open"), (-0.02, "held"), (0.06, "broken"), (0.02, "open")])
def test_guardrails_are_judged_against_their_margin(difference: float, state: str) -> None:
    bounds = bounds_of(GUARDED.design, information=(1.0,), last=True)
    guardrail = replace(GUARDED.design.guardrails[0], margin=0.019)
    assert guardrail_state(guardrail, _effect_of(difference), bounds, look=0) == state
    assert guardrail_state(guardrail, None, bounds, look=0) == "open"


def test_the_first_crossing_decides() -> None:
    found = ending(
        PLAN.design,
        information=(0.4, 0.6, 0.8),
        effects=[_effect_of(difference) for difference in (0.0, 0.05, -0.05)],
        last=False,
    )
    assert (found.decision, found.look, found.over) == ("better", 1, True)
