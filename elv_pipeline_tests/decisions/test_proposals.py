"""A proposal says what was seen and no more, and its experiment follows from today's volume."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.decisions.experiments.design import Guardrail, Metric, Volume, rate_baseline
from elv_pipeline.decisions.experiments.drawing import drawn
from elv_pipeline.decisions.experiments.plan import from_document
from elv_pipeline.decisions.experiments.results import checked, metric_columns
from elv_pipeline.decisions.recommend.effects import Label
from elv_pipeline.decisions.recommend.findings import Finding, findings_of, judge
from elv_pipeline.decisions.recommend.proposals import (
    ProposalRules,
    Suggestion,
    hypothesis_of,
    of_edit,
    of_finding,
    of_sequence,
    of_swap,
    proposals_of,
)
from elv_pipeline.decisions.recommend.sequencing import sequence_changes
from elv_pipeline.decisions.recommend.template_edits import edit_of
from elv_pipeline.decisions.recommend.template_rules import RuleWriter
from elv_pipeline.decisions.recommend.traffic import (
    COUNTED,
    Traffic,
    traffic_at,
    traffic_of_change,
    traffic_of_units,
)
from elv_pipeline.errors import ContractError
from elv_pipeline_tests.decisions.experiment_data import UNSUBSCRIBED
from elv_pipeline_tests.decisions.recommend_data import effect_of, estimate_of
from elv_pipeline_tests.decisions.sequence_data import (
    AS_OF,
    HORIZON,
    START,
    TIME,
    engagement_table,
    organisation,
    outcomes_table,
)
from elv_pipeline_tests.decisions.test_sequencing import CLAIMS, PLANNED, RULES, annoying, as_planned
from elv_pipeline_tests.decisions.test_template_edits import OTHERS, WEAK_ONE

TRAFFIC = Traffic(
    unit="enrollment",
    volume=Volume(weekly_units=400),
    window_days=7,
    positives=800,
    units=8_000,
    guardrails=(Guardrail(metric=UNSUBSCRIBED, margin=0.02),),
)


def suggestion(**changes: Any) -> Suggestion:
    made = Suggestion(
        kind="wait_longer",
        element="c/s2",
        change="in c step 2 (email) comes after 5 days instead of 1",
        direction="after 4 to 6 days",
        outcome="booked_call",
        window_days=7,
        gain=0.06,
        low=0.02,
        high=0.10,
        n=900,
        label="observational",
    )
    return replace(made, **changes)


def finding(*, label: Label = "observational") -> Finding:
    (found,) = findings_of(judge([effect_of("t9", estimate_of(-0.05, error=0.01), label=label)]))
    return found


def test_a_proposal_has_everything_that_an_experiment_needs() -> None:
    (proposal,) = proposals_of([(suggestion(), TRAFFIC)])
    plan = proposal.plan
    assert plan is not None
    assert plan.detectable <= 0.7 * 0.06
    assert plan.design.primary.baseline.value == pytest.approx(0.1)
    assert plan.design.allocation.salt == f"proposal-{proposal.id}"
    assert [guardrail.metric.name for guardrail in plan.design.guardrails] == ["unsubscribed"]
    assert len(plan.looks) >= 3
    assert plan.looks[0].upper_z > plan.looks[-1].upper_z > 1.95
    text = "\n".join(proposal.lines())
    for needed in (
        "sample-ratio",
        "Roll back at once",
        "25%, 50%, 100%",
        "week ",
        "Guardrail unsubscribed",
        "weeks of",
    ):
        assert needed in text
    document = json.loads(json.dumps(proposal.document()))
    assert from_document(document["plan"]) == plan
    assert document["hypothesis"] == plan.design.hypothesis
    assert proposal.remark == ""


def test_the_id_is_that_of_the_content_and_not_of_the_estimates() -> None:
    same = suggestion(gain=0.01, low=-0.1, high=0.2, n=7, label="randomised", change="other words", content="+x")
    assert same.id == suggestion().id
    for changes in (
        {"element": "c/s3"},
        {"kind": "drop"},
        {"outcome": "qualified"},
        {"direction": "after 7 to 10 days"},
        {"window_days": 14},
    ):
        assert suggestion(**changes).id != suggestion().id


def test_proposals_do_not_depend_on_order_or_repetition() -> None:
    entries = [(suggestion(element=name), TRAFFIC) for name in "abc"]
    assert proposals_of(entries) == proposals_of([*reversed(entries), entries[0]])
    assert len(proposals_of(entries)) == 3


def test_what_gains_nothing_is_not_proposed() -> None:
    assert proposals_of([(suggestion(gain=-0.01, low=-0.02), TRAFFIC), (suggestion(gain=0.0), TRAFFIC)]) == ()


def test_more_volume_takes_less_time() -> None:
    few, many = (
        proposals_of([(suggestion(), replace(TRAFFIC, volume=Volume(weekly_units=weekly)))])[0].plan
        for weekly in (300, 1_200)
    )
    assert few is not None
    assert many is not None
    assert many.total_weeks < few.total_weeks


def test_little_volume_is_told_with_what_could_be_found() -> None:
    (proposal,) = proposals_of([(suggestion(gain=0.02), replace(TRAFFIC, volume=Volume(weekly_units=80)))])
    assert proposal.plan is not None
    assert proposal.plan.total_weeks == 12
    assert proposal.plan.detectable > 0.014
    assert "it would take more to find 1.40" in proposal.remark
    (none,) = proposals_of([(suggestion(), replace(TRAFFIC, volume=Volume(weekly_units=2)))])
    assert none.plan is None
    assert none.remark.startswith("No experiment is proposed: ")
    assert none.document()["plan"] is None
    (unknown,) = proposals_of([(suggestion(), replace(TRAFFIC, positives=0))])
    assert "0 positives among 8000 units" in unknown.remark


def test_where_the_outcome_is_too_rare_replies_are_read_instead() -> None:
    metric = Metric(name="replied", words="replied", kind="rate", baseline=rate_baseline(1_600, units=8_000))
    replies = (Guardrail(metric=metric, margin=0.05), *TRAFFIC.guardrails)
    rare = replace(TRAFFIC, volume=Volume(weekly_units=60), positives=80, guardrails=replies)
    (proposal,) = proposals_of([(suggestion(gain=0.005, low=0.001), rare)])
    plan = proposal.plan
    assert plan is not None
    assert plan.design.primary == metric
    assert "unsubscribed" in {guardrail.metric.name for guardrail in plan.design.guardrails}
    assert "replied" not in {guardrail.metric.name for guardrail in plan.design.guardrails}
    assert "'booked call' is too rare here" in proposal.remark
    assert "whether more replies bring more of the outcome is not known" in proposal.remark
    assert f"proposal-{proposal.id}" not in proposal.remark
    (none,) = proposals_of([(suggestion(gain=0.005, low=0.001), replace(rare, guardrails=TRAFFIC.guardrails))])
    assert none.plan is None
    assert none.remark.startswith("No experiment is proposed: ")


@pytest.mark.parametrize("label", ["observational", "randomised"])
def test_a_hypothesis_claims_no_more_than_was_seen(label: Label) -> None:
    words = hypothesis_of(suggestion(label=label))
    assert not CLAIMS.search(words)
    assert "may change by +6.00 per 100 (+2.00 to +10.00; n = 900)" in words
    assert ("does not show it" in words) == (label == "observational")
    for kind in ("drop", "move"):
        (proposal,) = proposals_of([(suggestion(kind=kind, label=label), TRAFFIC)])
        assert not CLAIMS.search(" ".join(proposal.lines()[:3]))


def test_a_finding_is_turned_round() -> None:
    seen = of_finding(finding())
    assert (seen.kind, seen.element, seen.outcome, seen.n, seen.label) == (
        "template",
        "t9",
        "booked_call",
        1_000,
        "observational",
    )
    assert seen.low < seen.gain < seen.high
    assert seen.gain == pytest.approx(0.05, abs=0.01)
    assert seen.change == "t9 is replaced by a reworked text"
    assert (seen.window_days, seen.direction) == (7, "replaced")


def test_what_takes_the_place_of_a_text_was_never_drawn_by_lot() -> None:
    """That a template is weak may be shown; that the rework is better, nobody has tried."""
    drawn = finding(label="randomised")
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    assert drawn.status == "shown"
    assert (of_finding(drawn).label, of_edit(drawn, edit).label) == ("observational", "observational")
    comparison = replace(drawn.judged.effect.comparison, kind="channel")
    effect = replace(drawn.judged.effect, comparison=comparison)
    (channel,) = findings_of(judge([effect]))
    assert of_finding(channel).label == "randomised"
    assert of_finding(channel, change="t9 is replaced by something new").label == "observational"


def test_what_was_drawn_against_a_weak_text_may_take_its_place() -> None:
    swap = of_swap(finding(label="randomised"))
    assert swap is not None
    assert (swap.label, swap.direction) == ("randomised", "replaced by usual")
    assert swap.change == "t9 is replaced by usual, which was drawn by lot against it"
    assert swap.id != of_finding(finding(label="randomised")).id
    assert not CLAIMS.search(hypothesis_of(swap))
    assert of_swap(finding()) is None
    several = finding(label="randomised")
    two = replace(several.judged.effect, alternatives=(("usual", 300), ("other", 200)))
    assert of_swap(Finding(judged=replace(several.judged, effect=two))) is None


def test_the_id_stays_when_the_figures_and_the_edit_change() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    stronger = findings_of(judge([effect_of("t9", estimate_of(-0.08, error=0.01))]))[0]
    assert (
        of_edit(finding(), edit).id == of_edit(stronger, replace(edit, diff="another")).id == of_finding(finding()).id
    )


def test_an_edit_comes_with_its_diff() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    seen = of_edit(finding(), edit)
    (proposal,) = proposals_of([(seen, TRAFFIC)])
    assert edit.diff in proposal.lines()


def test_a_planted_step_becomes_a_proposal_with_its_own_traffic() -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED)
    changes = sequence_changes(tables, outcome="booked_call", as_of=AS_OF, rules=RULES)
    (drop,) = [change for change in changes if (change.kind, change.position) == ("drop", 3)]
    traffic = traffic_of_change(tables, drop, as_of=AS_OF)
    assert traffic is not None
    assert (traffic.window_days, traffic.units) == (HORIZON, 2_000)
    assert traffic.positives / traffic.units == pytest.approx(drop.status_quo, abs=0.01)
    (proposal,) = proposals_of([(of_sequence(drop), traffic)], rules=ProposalRules(sized_for=0.9))
    with pytest.raises(ValueError, match="the gain holds for 30 days, the traffic 7"):
        proposals_of([(of_sequence(drop), TRAFFIC)])
    assert proposal.plan is not None
    assert {guardrail.metric.name for guardrail in proposal.plan.design.guardrails} == {"replied", "left"}
    assert drop.assumption in " ".join(proposal.lines())


def test_traffic_counts_units_from_where_the_change_touches_them() -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=400)
    places = [
        traffic_at(
            tables,
            campaign_id="c",
            position=position,
            outcome="booked_call",
            window_days=7,
            as_of=START + timedelta(55),
        )
        for position in (0, 1, 3, 4)
    ]
    first, sent, third, nobody = places
    assert nobody is None
    assert first is not None
    assert sent is not None
    assert third is not None
    assert (first.units, sent.units, first.volume.weekly_units) == (400, 400, 50.0)
    assert 300 < third.units < 400
    left = {guardrail.metric.name: guardrail for guardrail in third.guardrails}["left"]
    assert left.metric.baseline.value > 0.3
    assert left.margin == pytest.approx(0.25 * left.metric.baseline.value)


def test_traffic_counts_what_came_within_the_window_alone() -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=20)
    names = tables.enrollments.sort("enrolled_time")["enrollment_id"].to_list()
    times = tables.enrollments.sort("enrolled_time")["enrolled_time"].to_list()
    days = [-1, 0, 1, 6, 7, 8]
    booked = [(names[number], times[number] + timedelta(days=day)) for number, day in enumerate(days)]
    here = {"campaign_id": "c", "position": 0, "outcome": "booked_call", "window_days": 7}
    only = replace(tables, outcomes=outcomes_table([*booked, booked[2]]))
    found = traffic_at(only, **here, as_of=START + timedelta(55))  # type: ignore[arg-type]
    assert found is not None
    assert (found.positives, found.units) == (2, 18), "who had booked by then has nothing to gain"


def test_traffic_leaves_out_who_had_the_outcome_before_the_place() -> None:
    """As the rows of elements do: such units have no label, and would make the place look busy and its rate low."""
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=40, over_days=20)
    sent = tables.engagement.filter((pl.col("event") == "sent") & (pl.col("step_id") == "s3-email-t3"))
    begun = sent.sort("event_time").select("enrollment_id", time="event_time")
    early, late = begun.head(10), begun.slice(10, 5)
    assert late.height == 5
    outcomes = [(name, time - timedelta(days=1)) for name, time in early.iter_rows()]
    outcomes += [(name, time + timedelta(days=1)) for name, time in late.iter_rows()]
    only = replace(tables, outcomes=outcomes_table(outcomes))
    here = {"outcome": "booked_call", "window_days": 7, "as_of": START + timedelta(50)}
    found = traffic_of_units(only, begun, **here)  # type: ignore[arg-type]
    assert found is not None
    assert (found.positives, found.units) == (5, begun.height - 10)
    assert found.volume.weekly_units == found.weekly_gaining == (begun.height - 10) / 8
    assert traffic_at(only, campaign_id="c", position=3, **here) == found  # type: ignore[arg-type]
    withdrawn = only.outcomes.with_columns(withdrawn_time=pl.col("outcome_time") + timedelta(hours=1))
    again = traffic_of_units(replace(only, outcomes=withdrawn), begun, **here)  # type: ignore[arg-type]
    assert again is not None
    assert (again.positives, again.units) == (0, begun.height)


def test_a_contact_counts_once_by_its_first_enrollment() -> None:
    """Enrollments of one contact in both arms would disturb each other."""
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=60, over_days=20)
    first = tables.enrollments.sort("enrolled_time")
    again = first.head(20).with_columns(
        enrollment_id=pl.col("enrollment_id") + "-again", enrolled_time=pl.col("enrolled_time") + timedelta(days=3)
    )
    booked = [(name, time + timedelta(days=1)) for name, time in again["enrollment_id", "enrolled_time"].iter_rows()]
    booked += [
        (name, time + timedelta(days=1)) for name, time in first["enrollment_id", "enrolled_time"].tail(6).rows()
    ]
    both = replace(tables, enrollments=pl.concat([again, first]), outcomes=outcomes_table(booked))
    here = {"campaign_id": "c", "position": 0, "outcome": "booked_call", "window_days": 7}
    found = traffic_at(both, **here, as_of=START + timedelta(50))  # type: ignore[arg-type]
    assert found is not None
    assert (found.unit, found.units, found.positives) == ("contact", 60, 6)
    assert (found.volume.weekly_units, found.weekly_gaining) == (60 / 8, 80 / 8)
    # Two months on, the contact that comes again is a unit of another experiment.
    later = again.with_columns(enrolled_time=pl.col("enrolled_time") + timedelta(weeks=8))
    apart = replace(both, enrollments=pl.concat([later, first]), outcomes=outcomes_table([]))
    other = traffic_at(apart, **here, as_of=START + timedelta(100))  # type: ignore[arg-type]
    assert other is not None
    assert other.units == 80


def test_the_experiment_draws_contacts_from_allocation_to_analysis(tmp_path: Path) -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=2_000)
    again = tables.enrollments.head(500).with_columns(
        enrollment_id=pl.col("enrollment_id") + "-again", enrolled_time=pl.col("enrolled_time") + timedelta(days=1)
    )
    tables = replace(tables, enrollments=pl.concat([tables.enrollments, again]))
    here = {"campaign_id": "c", "position": 0, "outcome": "booked_call", "window_days": 7}
    traffic = traffic_at(tables, **here, as_of=START + timedelta(50))  # type: ignore[arg-type]
    assert traffic is not None
    (proposal,) = proposals_of([(suggestion(gain=0.1), traffic)])
    plan = proposal.plan
    assert plan is not None
    assert proposal.weekly_units == 2_500 / 8
    assert plan.design.volume.weekly_units == 2_000 / 8
    assert plan.units == pytest.approx(plan.enrolment_weeks * 2_000 / 8)
    text = "\n".join(proposal.lines())
    assert "each contact gets the treatment" in text
    assert f"Decided by: booked call ({COUNTED})" in text
    units = tmp_path / "units.csv"
    enrolled = tables.enrollments.select(unit_id="contact_id", arrived="enrolled_time")
    enrolled.write_csv(units)
    with pytest.raises(ContractError, match="each unit is one row"):
        drawn(units, plan)
    enrolled.unique("unit_id").sort("unit_id").write_csv(units)
    arms = drawn(units, plan)
    result = arms.with_columns(
        assigned_at=pl.lit(START).cast(TIME),
        observed_at=pl.lit(START + timedelta(days=8)).cast(TIME),
        **{name: pl.lit(0.0) for name in metric_columns(plan)},
    )
    assert checked(result, plan).height == 2_000
    with pytest.raises(ContractError, match="unit_id"):
        checked(pl.concat([result, result.head(1)]), plan)


def test_traffic_knows_nothing_of_the_future() -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=300)
    moment = START + timedelta(days=25)
    names = tables.enrollments["enrollment_id"].to_list()
    late = pl.lit(moment + timedelta(hours=1), dtype=TIME)
    planted = replace(
        tables,
        engagement=pl.concat(
            [
                tables.engagement,
                engagement_table(
                    [(name, "s3-email-t3", "bounced", START + timedelta(2)) for name in names]
                ).with_columns(recorded_time=late),
                engagement_table([(name, "s3-email-t3", "sent", moment + timedelta(2)) for name in names]),
            ]
        ),
        outcomes=pl.concat(
            [
                tables.outcomes,
                outcomes_table([(name, START + timedelta(8)) for name in names]).with_columns(recorded_time=late),
            ]
        ),
    )
    for position in (0, 3):
        here = {"campaign_id": "c", "position": position, "outcome": "booked_call", "window_days": 7}
        assert traffic_at(planted, **here, as_of=moment) == traffic_at(tables, **here, as_of=moment)
