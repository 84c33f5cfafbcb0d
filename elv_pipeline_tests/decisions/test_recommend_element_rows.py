"""Rows of touches know what was known strictly before the send, and their outcome counts from it, for everybody."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.decisions.recommend.effects import ElementEffect, Estimation
from elv_pipeline.decisions.recommend.element_comparisons import CONTENT, drawn_places, element_effects
from elv_pipeline.decisions.recommend.element_rows import ATTRIBUTES, ENGAGEMENT, Place, element_rows
from elv_pipeline.decisions.recommend.findings import findings_of, judge
from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach, known_outreach
from elv_pipeline.decisions.recommend.prognosis import prognostic_strata
from elv_pipeline.decisions.recommend.proposals import proposals_of
from elv_pipeline.decisions.recommend.recommendations import RecommendSettings
from elv_pipeline.decisions.recommend.suggestions import suggestions_of_findings
from elv_pipeline.errors import ContractError
from elv_pipeline.problems.event_specs import AnchoredTarget
from elv_pipeline_tests.decisions.outreach_tables import cleaned, organisation, shuffled, with_future
from elv_pipeline_tests.decisions.recommend_data import effect_of, estimate_of
from elv_pipeline_tests.decisions.sequence_data import START

TARGET = AnchoredTarget(name="booked_call_within_7d", outcome="booked_call", window_days=7)
LATER = AnchoredTarget(name="booked_call_within_30d", outcome="booked_call", window_days=30)
HOUR = timedelta(hours=1)
NOTHING = Estimation(least_contacts=10**6)
"""Who is compared with whom, without any estimate."""


def hand_made(**changes: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """One contact in a campaign of an e-mail and a call that nobody logged as sent."""
    step = {"campaign_id": "c", "decision_point": "none", "template_text": "Hi?"}
    sent = START + timedelta(days=1)
    event = {"enrollment_id": "e", "step_id": "s1", "recorded_time": sent, "event_time": sent}
    called = sent + timedelta(days=3)
    rows: dict[str, list[dict[str, Any]]] = {
        "contacts": [{"contact_id": "p", "source": "webinar", "qualification_status": "marketing"}],
        "campaigns": [{"campaign_id": "c", "campaign_name": "Spring"}],
        "campaign_steps": [
            {**step, "step_id": "s1", "position": 1, "channel": "email", "template_id": "t1", "wait_days": 1.0},
            {**step, "step_id": "s2", "position": 2, "channel": "call", "template_id": "t2", "wait_days": 3.0},
        ],
        "enrollments": [
            {"org_id": "o", "enrollment_id": "e", "contact_id": "p", "campaign_id": "c", "enrolled_time": START}
        ],
        "engagement_logs": [
            {**event, "event": "sent"},
            {**event, "event": "opened", "event_time": sent + HOUR, "recorded_time": sent + HOUR},
            {**event, "step_id": "s2", "event": "called", "event_time": called, "recorded_time": called},
        ],
        "outcomes": [],
    }
    return {
        name: pl.DataFrame(
            [{column: row.get(column) for column in CANONICAL[name].names} for row in (rows | changes)[name]],
            schema=CANONICAL[name].schema,
            orient="row",
        )
        for name in rows
    }


def rows_of(tables: dict[str, pl.DataFrame], *, days: int = 40, **options: Any) -> pl.DataFrame:
    known = known_outreach(tables, as_of=START + timedelta(days=days))
    return element_rows(known, target=TARGET, timezone="Europe/Berlin", **options)


def outcome(at: datetime, recorded: datetime | None = None) -> list[dict[str, Any]]:
    return [{"enrollment_id": "e", "outcome": "booked_call", "outcome_time": at, "recorded_time": recorded or at}]


def test_a_call_that_nobody_logged_as_sent_is_a_touch() -> None:
    rows = rows_of(hand_made())
    assert rows.select("moment_id", "step_id", "template_id", "channel").rows() == [
        ("e@0", None, None, None),
        ("e@1", "s1", "t1", "email"),
        ("e@2", "s2", "t2", "call"),
    ]
    assert rows.select("planned_wait", "next_wait", "next_channel").rows() == [
        (None, "after a wait of 1 to under 3 days", "email"),
        ("after a wait of 1 to under 3 days", "after a wait of 3 to under 6 days", "call"),
        ("after a wait of 3 to under 6 days", None, None),
    ]
    assert rows["send_hour"].to_list() == [None, "from 0 to under 7 h", "from 0 to under 7 h"]
    assert rows["send_weekday"].to_list() == [None, "from Tuesday to Thursday", "on Fridays"]


def test_covariates_are_those_of_strictly_before_the_send() -> None:
    sent = START + timedelta(days=1)
    event = {"enrollment_id": "e", "step_id": "s1", "event": "opened"}
    for at, recorded, counted in (
        (sent, sent, 0),
        (sent - HOUR, sent, 0),
        (sent - HOUR, sent - timedelta(microseconds=1), 1),
    ):
        tables = hand_made()
        early = hand_made(engagement_logs=[{**event, "event_time": at, "recorded_time": recorded}])["engagement_logs"]
        logs = tables["engagement_logs"].filter(pl.col("event") != "opened")
        rows = rows_of({**tables, "engagement_logs": pl.concat([logs, early])})
        assert rows["opened_count"].to_list() == [0, counted, 1]
    versions = [
        {"contact_id": "p", "source": "webinar", "qualification_status": status, "recorded_time": time}
        for status, time in (("marketing", None), ("sales", sent), ("customer", sent + HOUR))
    ]
    rows = rows_of(hand_made(contacts=versions))
    assert rows["qualification_status"].to_list() == ["marketing", "marketing", "customer"]


def test_no_covariate_tells_which_step_was_sent() -> None:
    names = (*ATTRIBUTES, *ENGAGEMENT)
    assert not [name for name in names if any(part in name for part in ("rate", "step", "template", "campaign"))]


@pytest.mark.parametrize(
    ("hours_after_send", "labels"),
    [(-1, [1, None, None]), (1, [1, 1, None]), (24 * 7, [0, 1, 1]), (24 * 7 + 1, [0, 0, 1]), (24 * 20, [0, 0, 0])],
)
def test_the_window_runs_from_the_send_whoever_engages(hours_after_send: int, labels: list[int | None]) -> None:
    """The contact has not engaged in a step before it books: a window from the first engagement would leave it out."""
    at = START + timedelta(days=1, hours=hours_after_send)
    tables = hand_made(outcomes=outcome(at))
    logs = tables["engagement_logs"].filter(pl.col("event") != "opened")
    assert rows_of({**tables, "engagement_logs": logs})[TARGET.name].to_list() == labels


def test_a_window_that_is_not_over_has_no_label_for_either_class() -> None:
    tables = hand_made(outcomes=outcome(START + timedelta(days=1, hours=1)))
    assert rows_of(tables, days=8)[TARGET.name].to_list() == [1, 1, None]
    assert rows_of(tables, days=7)[TARGET.name].to_list() == [1, None, None]
    assert rows_of(hand_made(), days=7)[TARGET.name].to_list() == [0, None, None]


def test_a_dropped_outcome_is_no_negative() -> None:
    known = known_outreach(hand_made(), as_of=START + timedelta(days=40), unobserved=["e"])
    assert element_rows(known, target=TARGET, timezone="UTC")[TARGET.name].to_list() == [None, None, None]


def test_enrollments_of_before_outcomes_were_recorded_say_nothing() -> None:
    for since, left in ((START, 3), (START + timedelta(microseconds=1), 0)):
        known = known_outreach(hand_made(), as_of=START + timedelta(days=40), observed_from=since)
        assert element_rows(known, target=TARGET, timezone="UTC").height == left


def test_a_window_from_an_engagement_is_refused() -> None:
    anchored = replace(TARGET, anchor_events=("opened",))
    known = known_outreach(hand_made(), as_of=START + timedelta(days=40))
    with pytest.raises(ValueError, match="counts from the send"):
        element_rows(known, target=anchored, timezone="UTC")


def test_what_is_recorded_later_does_not_matter() -> None:
    made = organisation()
    moment = made.world.spec.start + timedelta(days=40, hours=7, minutes=3)
    plain, planted = (
        known_outreach(cleaned(), as_of=moment),
        known_outreach(with_future(cleaned(), moment), as_of=moment),
    )
    frames = [name for name in KnownOutreach.__dataclass_fields__ if name not in ("as_of", "unobserved")]
    assert all(getattr(plain, name).equals(getattr(planted, name)) for name in frames)
    assert plain.outcomes.height
    assert plain.outcomes.height < cleaned()["outcomes"].height
    before = with_future(cleaned(), moment)
    assert not known_outreach(before, as_of=moment + timedelta(days=3)).engagement.equals(plain.engagement)


def test_the_order_of_rows_does_not_matter() -> None:
    end = organisation().world.spec.end
    for mixed in (shuffled(cleaned()), shuffled(cleaned(), seed=8)):
        found = [
            element_rows(known_outreach(tables, as_of=end), target=TARGET, timezone="UTC")
            for tables in (cleaned(), mixed)
        ]
        assert found[0].equals(found[1])


def test_a_missing_table_and_a_moment_without_offset_are_refused() -> None:
    with pytest.raises(ContractError, match="engagement_logs is missing"):
        known_outreach({"enrollments": cleaned()["enrollments"]}, as_of=START)
    with pytest.raises(ValueError, match="has no offset"):
        known_outreach(cleaned(), as_of=datetime(2025, 1, 1))  # noqa: DTZ001


def test_chance_decides_up_to_the_first_step_that_differs() -> None:
    steps = cleaned()["campaign_steps"]
    places = drawn_places(steps, randomised_campaigns=organisation().randomised)
    assert places == {Place(campaign, position) for campaign in ("cmp005", "cmp006") for position in (0, 1, 2)}
    changed = (pl.col("step_id") == "cmp005_s1") & (pl.col("position") == 1)
    other = steps.with_columns(
        decision_point=pl.when(changed).then(pl.lit("branch_on_open")).otherwise("decision_point")
    )
    assert {place.position for place in drawn_places(other, randomised_campaigns=organisation().randomised)} == {0, 1}
    later = (pl.col("step_id") == "cmp006_s2") & (pl.col("position") == 2)
    waiting = steps.with_columns(wait_days=pl.when(later).then(pl.col("wait_days") + 4).otherwise("wait_days"))
    assert {place.position for place in drawn_places(waiting, randomised_campaigns=organisation().randomised)} == {
        0,
        1,
    }, "who is left after the longer wait was not drawn"
    assert drawn_places(steps, randomised_campaigns=("unknown",)) == frozenset()
    rows = element_rows(
        known_outreach(cleaned(), as_of=organisation().world.spec.end),
        target=TARGET,
        timezone="UTC",
        drawn_places=places,
    )
    assert set(rows.filter("drawn").select("campaign_id", "position").unique().rows()) == set(places)


def test_a_step_is_not_compared_with_itself_in_another_campaign() -> None:
    known = known_outreach(cleaned(), as_of=organisation().world.spec.end)
    rows = element_rows(known, target=TARGET, later=LATER, timezone="UTC")
    effects = {effect.element: effect for effect in of_elements(rows, known)}
    content = {row[0]: row[1:] for row in known.steps.select("step_id", *CONTENT).iter_rows()}
    assert content["cmp001_s1"] == content["cmp005_s1"]
    for element, effect in effects.items():
        if effect.comparison.kind == "step":
            assert all(content[other] != content[element] for other, _ in effect.alternatives)
    assert effects["cmp001_s1"].alternatives
    assert effects["cmp001_s5"].alternatives == ()
    assert all(effect.comparison.outcome == "booked_call" for effect in effects.values())
    waits = {name: effect for name, effect in effects.items() if effect.comparison.column == "next_wait"}
    assert waits
    assert {(effect.comparison.label_column, effect.comparison.window_days) for effect in waits.values()} == {
        (LATER.name, 30)
    }
    others = [effect.comparison for name, effect in effects.items() if name not in waits]
    assert {(comparison.label_column, comparison.window_days) for comparison in others} == {(TARGET.name, 7)}


def of_elements(
    rows: pl.DataFrame, known: KnownOutreach, *, later: AnchoredTarget = LATER, settings: Estimation = NOTHING
) -> tuple[ElementEffect, ...]:
    return element_effects(rows, known.steps, target=TARGET, later=later, settings=settings)


def waiting(*, contacts: int = 600) -> dict[str, pl.DataFrame]:
    """Two campaigns that differ in the wait before their second step alone: 3 days or 9.

    A fifth book the day after the first step, a fifth the day after the second. Within seven days of the first step,
    only the shorter wait has both; within thirty both have.
    """
    step = {"decision_point": "none", "template_text": "Hi?", "channel": "email"}
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in ("campaigns", "campaign_steps", "contacts")}
    made |= {name: [] for name in ("enrollments", "engagement_logs", "outcomes")}
    for campaign, wait in (("short", 3.0), ("long", 9.0)):
        made["campaigns"].append({"campaign_id": campaign, "campaign_name": campaign})
        for position, days in ((1, 1.0), (2, wait)):
            own = {"campaign_id": campaign, "step_id": f"{campaign}{position}", "position": position}
            made["campaign_steps"].append({**step, **own, "template_id": f"t{position}", "wait_days": days})
    for number in range(contacts):
        campaign, wait = (("short", 3), ("long", 9))[number % 2]
        name, enrolled = f"{number:04d}", START + timedelta(hours=number // 2)
        made["contacts"].append({"contact_id": name, "source": "webinar", "qualification_status": "marketing"})
        made["enrollments"].append(
            {"org_id": "o", "enrollment_id": name, "contact_id": name, "campaign_id": campaign}
            | {"enrolled_time": enrolled}
        )
        first = enrolled + timedelta(days=1)
        books = number // 2 % 5
        sent = [(1, first)] if books == 0 else [(1, first), (2, first + timedelta(days=wait))]
        for position, time in sent:
            event = {"enrollment_id": name, "step_id": f"{campaign}{position}", "event": "sent"}
            made["engagement_logs"].append({**event, "event_time": time, "recorded_time": time})
        if books < 2:
            time = sent[books][1] + timedelta(days=1)
            made["outcomes"].append({"enrollment_id": name, "outcome": "booked_call", "outcome_time": time})
            made["outcomes"][-1]["recorded_time"] = time
    return hand_made(**made)


def test_a_longer_wait_is_not_weak_for_having_one_touch_less_within_the_window() -> None:
    known = known_outreach(waiting(), as_of=START + timedelta(days=60))
    rows = element_rows(known, target=TARGET, later=LATER, timezone="UTC")
    first = rows.filter(pl.col("position") == 1)
    rates = {
        str(wait): (own[TARGET.name].mean(), own[LATER.name].mean())
        for (wait,), own in first.group_by("next_wait", maintain_order=True)
    }
    long = "after a wait of 6 to under 11 days"
    assert rates["after a wait of 3 to under 6 days"] == pytest.approx((0.4, 0.4))
    assert rates[long] == pytest.approx((0.2, 0.4))
    settings = Estimation(least_contacts=20)

    def weak(later: AnchoredTarget) -> set[str]:
        effects = of_elements(first, known, later=later, settings=settings)
        timings = [effect for effect in effects if effect.comparison.column == "next_wait"]
        assert [effect.estimate is not None for effect in timings] == [True, True]
        return {finding.judged.effect.element for finding in findings_of(judge(timings))}

    assert weak(LATER) == set()
    assert weak(TARGET) == {long}, "the window of everything else would have called it weak"


def test_what_is_proposed_about_a_wait_counts_over_the_same_days() -> None:
    known = known_outreach(waiting(), as_of=START + timedelta(days=60))
    rows = element_rows(known, target=TARGET, later=LATER, timezone="UTC")
    effect = effect_of("after a wait of 6 to under 11 days", estimate_of(-0.05, error=0.01))
    timed = replace(effect.comparison, kind="timing", column="next_wait", window_days=30, label_column=LATER.name)
    findings = findings_of(judge([replace(effect, comparison=timed)]))
    ((seen, traffic),) = suggestions_of_findings(findings, (), rows, known)
    assert (seen.window_days, traffic.window_days) == (30, 30)
    assert "booked_call within 30 days" in findings[0].sentence
    (proposal,) = proposals_of([(seen, traffic)])
    assert proposal.plan is not None
    assert proposal.plan.design.window_days == 30
    assert traffic.positives / traffic.units == pytest.approx(0.4)


def test_the_columns_of_window_and_horizon_never_share_a_name() -> None:
    settings = RecommendSettings(label_column="booked_call_within_30d")
    assert (settings.target.name, settings.later.name) == (
        "booked_call_within_30d",
        "booked_call_within_30d_of_horizon",
    )
    assert (settings.later.window_days, RecommendSettings().later.name) == (30, LATER.name)
    same = RecommendSettings(horizon_days=7)
    assert same.later == same.target


def test_strata_put_contacts_of_like_prospects_together() -> None:
    known = known_outreach(cleaned(1_000, 75), as_of=organisation(1_000, 75).world.spec.end)
    rows = element_rows(known, target=TARGET, timezone="UTC")
    strata = prognostic_strata(rows, known, outcome="booked_call", horizon_days=30)
    assert strata is not None
    assert strata["contact_id"].is_unique().all()
    assert set(strata["contact_id"]) == set(known.enrollments["contact_id"])
    assert strata["stratum"].value_counts()["count"].max() - strata["stratum"].value_counts()["count"].min() <= 1
    sources = (
        strata.join(known.contacts, on="contact_id").group_by("stratum").agg((pl.col("source") == "referral").mean())
    )
    share = dict(sources.iter_rows())
    assert share["5"] > 3 * max(share["1"], 0.02)
    assert (
        prognostic_strata(rows, replace(known, outcomes=known.outcomes.clear()), outcome="booked_call", horizon_days=30)
        is None
    )
