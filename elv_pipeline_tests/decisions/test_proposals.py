"""A proposal says what was seen and no more, and its experiment follows from today's volume."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.decisions.experiments.design import Guardrail, Volume
from elv_pipeline.decisions.experiments.plan import from_document
from elv_pipeline.decisions.recommend.effects import Label
from elv_pipeline.decisions.recommend.findings import Finding, findings_of, judge
from elv_pipeline.decisions.recommend.proposals import (
    ProposalRules,
    Suggestion,
    hypothesis_of,
    of_edit,
    of_finding,
    of_sequence,
    proposals_of,
)
from elv_pipeline.decisions.recommend.sequencing import sequence_changes
from elv_pipeline.decisions.recommend.template_edits import edit_of
from elv_pipeline.decisions.recommend.template_rules import RuleWriter
from elv_pipeline.decisions.recommend.traffic import Traffic, traffic_at, traffic_of_change
from elv_pipeline_tests.decisions.experiment_data import UNSUBSCRIBED
from elv_pipeline_tests.decisions.recommend_data import BOOKED, effect_of, estimate_of
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
        outcome="booked_call",
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
    assert suggestion(gain=0.01, low=-0.1, high=0.2, n=7, label="randomised").id == suggestion().id
    for changes in (
        {"element": "c/s3"},
        {"kind": "drop"},
        {"outcome": "qualified"},
        {"change": "x"},
        {"content": "+x"},
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
        BOOKED,
        1_000,
        "observational",
    )
    assert seen.low < seen.gain < seen.high
    assert seen.gain == pytest.approx(0.05, abs=0.01)
    assert seen.change == "t9 is replaced by a reworked text"
    assert of_finding(finding(label="randomised")).label == "randomised"


def test_an_edit_comes_with_its_diff() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    seen = of_edit(finding(), edit)
    (proposal,) = proposals_of([(seen, TRAFFIC)])
    assert edit.diff in proposal.lines()
    assert seen.id != of_edit(finding(), replace(edit, diff="another")).id


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
    days = [-1, 0, 6, 7, 8]
    booked = [(names[number], times[number] + timedelta(days=day)) for number, day in enumerate(days)]
    here = {"campaign_id": "c", "position": 0, "outcome": "booked_call", "window_days": 7}
    only = replace(tables, outcomes=outcomes_table([*booked, booked[1]]))
    found = traffic_at(only, **here, as_of=START + timedelta(55))  # type: ignore[arg-type]
    assert found is not None
    assert (found.positives, found.units) == (2, 20)


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
