"""Planted steps and waits are found with the right sign; intervals hold the truth; nothing of the future counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.recommend.chain import chain_of
from elv_pipeline.decisions.recommend.sequencing import SequenceChange, SequencingRules, sequence_changes
from elv_pipeline.decisions.recommend.spells import Draw, OutreachTables, spells, steps_as_of
from elv_pipeline_tests.decisions.sequence_data import (
    AS_OF,
    HORIZON,
    START,
    TIME,
    Chances,
    Step,
    engagement_table,
    organisation,
    outcomes_table,
    sequence,
    steps_table,
    together,
    truth,
)

RULES = SequencingRules(horizon_days=HORIZON, samples=60)
PLANNED = sequence(0, 1, 5)
CLAIMS = re.compile(
    r"\b(is|are|was|were|does|do) (better|worse|best)\b|\b(causes?|proves?|increases|decreases|improves|will)\b|"
    r"(?<!not )\b(shows|shown) that\b",
    re.IGNORECASE,
)


def quiet(since: int) -> float:
    return (0.02, 0.012, 0.01, 0.01, 0.004, 0.004, 0.004)[min(since, 6)]


def hasty(step: Step | None, since: int, stratum: str) -> Chances:
    """The second step does harm where it comes at once."""
    if step is None:
        return Chances()
    if step.position == 2 and since < 4:
        early = step.wait < 4
        return Chances(quiet(since) * (0.6 if early else 2.0), 0.01, 0.06 if early and since < 2 else 0.004)
    return Chances(quiet(since), 0.01, 0.004)


def annoying(step: Step | None, since: int, stratum: str) -> Chances:
    """The third step drives people away."""
    if step is None:
        return Chances()
    if step.position == 3 and since == 0:
        return Chances(0.0, 0.0, 0.35)
    return Chances(0.012 if since < 4 else 0.008, 0.004, 0.004)


def two_waits(generator: np.random.Generator, stratum: str) -> Sequence[Step]:
    return sequence(0, 1 if generator.random() < 0.5 else 5, 5)


def as_planned(generator: np.random.Generator, stratum: str) -> Sequence[Step]:
    return PLANNED


def found(tables: OutreachTables, kind: str, position: int, rules: SequencingRules = RULES) -> SequenceChange:
    changes = sequence_changes(tables, outcome="booked_call", as_of=AS_OF, rules=rules)
    (change,) = [change for change in changes if (change.kind, change.position) == (kind, position)]
    return change


@pytest.fixture(scope="module")
def waited() -> OutreachTables:
    return organisation(two_waits, hasty, planned=PLANNED)


def test_a_planted_bad_wait_is_found(waited: OutreachTables) -> None:
    change = found(waited, "wait_longer", 2)
    real = truth(sequence(0, 5, 5), hasty) - truth(PLANNED, hasty)
    assert 0 < change.low < real < change.high
    assert change.change == "step 2 (email) comes after 5 days instead of 1"
    assert abs(change.status_quo - truth(PLANNED, hasty)) < 0.03
    assert 700 < change.n < 1_000
    assert change.per_100[0] == pytest.approx(100 * change.effect)


def test_the_opposite_wait_is_found_with_the_opposite_sign(waited: OutreachTables) -> None:
    late = replace(waited, steps=steps_table(sequence(0, 5, 5)))
    change, opposite = found(late, "wait_shorter", 2), found(waited, "wait_longer", 2)
    assert change.effect == pytest.approx(-opposite.effect, rel=1e-9)
    assert change.high < 0


def test_a_planted_step_that_drives_people_away_is_found() -> None:
    change = found(organisation(as_planned, annoying, planned=PLANNED), "drop", 3)
    real = truth(PLANNED[:2], annoying) - truth(PLANNED, annoying)
    assert 0 < change.low < real < change.high
    assert "left out" in change.change


def test_who_waited_is_not_mistaken_for_what_waiting_does() -> None:
    def sources(step: Step | None, since: int, stratum: str) -> Chances:
        return Chances() if step is None else Chances(0.03 if stratum == "referral" else 0.004, 0.0, 0.004)

    def patient(generator: np.random.Generator, stratum: str) -> Sequence[Step]:
        return sequence(0, 5 if generator.random() < (0.85 if stratum == "referral" else 0.15) else 1, 5)

    tables = organisation(patient, sources, planned=PLANNED, strata=("referral", "purchased_list"))
    blind = found(replace(tables, strata=None), "wait_longer", 2)
    adjusted = found(tables, "wait_longer", 2)
    assert blind.low > 0.02
    assert adjusted.low < 0 < adjusted.high
    assert abs(adjusted.effect) < 0.25 * blind.effect


def test_what_was_drawn_by_lot_is_labelled_so_and_nothing_else(waited: OutreachTables) -> None:
    drawn = replace(RULES, draws=frozenset({Draw("c", 2, "wait")}))
    changes = sequence_changes(waited, outcome="booked_call", as_of=AS_OF, rules=drawn)
    assert {change.kind for change in changes if change.label == "randomised"} == {"wait_longer"}
    assert {change.label for change in sequence_changes(waited, outcome="booked_call", as_of=AS_OF, rules=RULES)} == {
        "observational"
    }


def test_a_change_is_randomised_only_where_the_drawn_contacts_carry_it() -> None:
    """Waits were drawn from day 20 on; those enrolled before were given the long wait because they seemed keen."""
    keen = organisation(
        lambda generator, stratum: sequence(0, 5, 5),
        lambda step, since, stratum: Chances(0.06) if step else Chances(),
        planned=PLANNED,
        contacts=800,
        over_days=19,
    )
    drawn = organisation(two_waits, hasty, planned=PLANNED, contacts=2_000, seed=9)
    names = pl.col("enrollment_id") + "-drawn", pl.col("contact_id") + "-drawn"
    later = timedelta(days=20)
    drawn = replace(
        drawn,
        enrollments=drawn.enrollments.with_columns(*names, enrolled_time=pl.col("enrolled_time") + later),
        engagement=drawn.engagement.with_columns(
            names[0], event_time=pl.col("event_time") + later, recorded_time=pl.col("recorded_time") + later
        ),
        outcomes=drawn.outcomes.with_columns(
            names[0], outcome_time=pl.col("outcome_time") + later, recorded_time=pl.col("recorded_time") + later
        ),
        strata=drawn.strata.with_columns(names[1]) if drawn.strata is not None else None,
    )
    both = replace(together(keen, drawn), steps=drawn.steps)
    since = START + timedelta(days=20)
    rules = replace(RULES, draws=frozenset({Draw("c", 2, "wait", since)}))
    real = truth(sequence(0, 5, 5), hasty) - truth(PLANNED, hasty)
    told, mixed = found(both, "wait_longer", 2, rules), found(both, "wait_longer", 2)
    assert (told.label, mixed.label) == ("randomised", "observational")
    assert told.low < real < told.high < mixed.low
    assert told.n == (
        drawn.enrollments.filter(pl.col("enrolled_time") >= since)
        .join(_long_waits(drawn), on="enrollment_id", how="semi")["contact_id"]
        .n_unique()
    )
    few = replace(rules, draws=frozenset({Draw("c", 2, "wait", START + timedelta(days=59))}))
    assert found(both, "wait_longer", 2, few).label == "observational"


def _long_waits(tables: OutreachTables) -> pl.DataFrame:
    rows = spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=AS_OF)
    return rows.filter((pl.col("position") == 2) & (pl.col("wait") == 5))


def test_a_wait_that_was_never_tried_here_is_taken_from_other_campaigns() -> None:
    alone = organisation(as_planned, hasty, planned=PLANNED, contacts=600)
    other = organisation(lambda g, s: sequence(0, 5, 5), hasty, planned=sequence(0, 5, 5), contacts=900, campaign="d")
    assert not [change for change in _all(alone) if change.kind == "wait_longer" and change.position == 2]
    (change,) = [
        change
        for change in _all(together(alone, other))
        if (change.kind, change.element) == ("wait_longer", "c/s2-email-t2")
    ]
    real = truth(sequence(0, 5, 5), hasty) - truth(PLANNED, hasty)
    assert change.low < real < change.high
    assert change.label == "observational"
    assert "other campaigns" in change.assumption
    assert "another text" not in change.assumption
    assert change.direction == "after 4 to 6 days"


def _all(tables: OutreachTables) -> tuple[SequenceChange, ...]:
    return sequence_changes(tables, outcome="booked_call", as_of=AS_OF, rules=replace(RULES, samples=30))


def test_a_call_after_a_send_is_an_answer_and_a_call_alone_begins_its_step() -> None:
    def nothing(step: Step | None, since: int, stratum: str) -> Chances:
        return Chances()

    planned = (Step(1, 0, "email", "t1"), Step(2, 3, "call", "script"), Step(3, 4, "email", "t3"))
    tables = organisation(lambda g, s: planned, nothing, planned=planned, contacts=2)
    first, second = tables.enrollments["enrollment_id"].to_list()
    own = (pl.col("enrollment_id") == second) & (pl.col("step_id") == "s2-call-script")
    alone = tables.engagement.with_columns(event=pl.when(own).then(pl.lit("called")).otherwise("event"))
    answered = engagement_table([(first, "s2-call-script", "called", START + timedelta(days=3, hours=4))])
    rows = spells(
        replace(tables, engagement=pl.concat([alone, answered])),
        outcome="booked_call",
        horizon_days=HORIZON,
        as_of=AS_OF,
    )
    shown = rows.select("enrollment_id", "position", "ending").rows()
    assert shown == [
        *((first, position, ending) for position, ending in ((0, "open"), (1, "open"), (2, "replied"))),
        *((second, position, "open") for position in (0, 1, 2, 3)),
    ]


def test_the_version_of_a_step_follows_the_one_rule_of_the_project() -> None:
    """Of two versions of one day the one recorded later counts, also where its template sorts first."""
    day = START - timedelta(days=4)
    versions = [
        steps_table([Step(1, wait, "email", "x")]).with_columns(
            template_id=pl.lit(template),
            valid_from=pl.lit(day, dtype=TIME),
            recorded_time=pl.lit(day + timedelta(hours=hours), dtype=TIME),
        )
        for wait, template, hours in ((1, "z", 1), (2, "a", 2))
    ]
    steps = pl.concat(versions)
    for mixed in (steps, steps.reverse()):
        assert steps_as_of(mixed, AS_OF)["template_id"].to_list() == ["a"]
    before = steps_as_of(steps, day + timedelta(minutes=90))
    assert before.select("template_id", "wait_days").rows() == [("z", 1.0)]


def test_a_channel_is_only_looked_at_where_it_was_seen() -> None:
    def channels(generator: np.random.Generator, stratum: str) -> Sequence[Step]:
        call = generator.random() < 0.4
        return (*PLANNED[:1], Step(2, 1, "call", "script") if call else PLANNED[1], PLANNED[2])

    def calls(step: Step | None, since: int, stratum: str) -> Chances:
        if step is None:
            return Chances()
        return Chances(0.03 if step.channel == "call" and since < 4 else 0.008, 0.004, 0.004)

    tables = organisation(channels, calls, planned=PLANNED)
    tables = replace(tables, steps=steps_table(PLANNED, others=[Step(2, 1, "call", "script")]))
    own = found(tables, "switch_channel", 2)
    real = truth((PLANNED[0], Step(2, 1, "call", "script"), PLANNED[2]), calls) - truth(PLANNED, calls)
    assert 0 < own.low < real < own.high
    assert "other campaigns" not in own.assumption
    alone = organisation(as_planned, calls, planned=PLANNED, campaign="d", seed=3, contacts=500)
    rules = replace(RULES, draws=frozenset({Draw("c", 2, "channel"), Draw("d", 2, "channel")}))
    changes = sequence_changes(together(tables, alone), outcome="booked_call", as_of=AS_OF, rules=rules)
    labels = {change.campaign_id: change for change in changes if change.kind == "switch_channel"}
    assert (labels["c"].label, labels["d"].label) == ("randomised", "observational")
    assert "other campaigns" in labels["d"].assumption
    assert not [change for change in changes if change.kind == "switch_channel" and change.position != 2]


def test_steps_change_places_only_where_both_were_seen_there() -> None:
    swapped = (PLANNED[0], Step(2, 1, "email", "t3"), Step(3, 5, "email", "t2"))

    def orders(generator: np.random.Generator, stratum: str) -> Sequence[Step]:
        return swapped if generator.random() < 0.5 else PLANNED

    def second(step: Step | None, since: int, stratum: str) -> Chances:
        if step is None:
            return Chances()
        return Chances(0.04 if (step.position, step.template) == (2, "t3") and since < 4 else 0.008, 0.004, 0.004)

    tables = organisation(orders, second, planned=PLANNED)
    both = replace(tables, steps=steps_table(PLANNED, others=swapped[1:]))
    change = found(both, "move", 2)
    assert 0 < change.low < truth(swapped, second) - truth(PLANNED, second) < change.high
    once = organisation(as_planned, second, planned=PLANNED)
    changes = sequence_changes(once, outcome="booked_call", as_of=AS_OF, rules=RULES)
    assert not [change for change in changes if change.kind == "move"]


def test_too_few_contacts_suggest_nothing() -> None:
    tables = organisation(two_waits, hasty, planned=PLANNED, contacts=150)
    rules = replace(RULES, least_contacts=100)
    kinds = {change.kind for change in sequence_changes(tables, outcome="booked_call", as_of=AS_OF, rules=rules)}
    assert kinds <= {"drop"}
    assert sequence_changes(tables, outcome="booked_call", as_of=START, rules=rules) == ()


def test_a_horizon_that_nobody_has_lived_through_is_not_estimated(waited: OutreachTables) -> None:
    early = START + timedelta(days=HORIZON + 1)
    assert sequence_changes(waited, outcome="booked_call", as_of=early, rules=RULES) == ()
    shorter = replace(RULES, horizon_days=14)
    assert sequence_changes(waited, outcome="booked_call", as_of=early, rules=shorter)


def test_the_order_of_rows_changes_nothing(waited: OutreachTables) -> None:
    names = ("enrollments", "steps", "engagement", "outcomes", "strata")
    mixed = OutreachTables(**{name: getattr(waited, name).sample(fraction=1.0, shuffle=True, seed=5) for name in names})
    rules = replace(RULES, samples=20)
    before = sequence_changes(waited, outcome="booked_call", as_of=AS_OF, rules=rules)
    assert sequence_changes(mixed, outcome="booked_call", as_of=AS_OF, rules=rules) == before
    assert before


def test_other_campaigns_change_nothing_that_was_estimated_from_the_campaign_itself(waited: OutreachTables) -> None:
    other = organisation(as_planned, annoying, planned=PLANNED, campaign="zz", contacts=200)
    effects = {change.change: change.effect for change in _of(waited)}
    assert {change.change: change.effect for change in _of(together(waited, other)) if change.campaign_id == "c"} == (
        pytest.approx(effects)
    )


def _of(tables: OutreachTables) -> tuple[SequenceChange, ...]:
    return sequence_changes(tables, outcome="booked_call", as_of=AS_OF, rules=replace(RULES, samples=5))


def test_nothing_that_happens_or_is_recorded_later_counts(waited: OutreachTables) -> None:
    moment = START + timedelta(days=45)
    names = waited.enrollments["enrollment_id"].to_list()
    late = pl.lit(moment + timedelta(hours=1), dtype=TIME)
    future = engagement_table([(name, "s2-email-t2", "opted_out", moment + timedelta(days=1)) for name in names])
    belated = engagement_table([(name, "s1-email-t1", "replied", START) for name in names])
    won = outcomes_table([(name, START + timedelta(days=1)) for name in names]).with_columns(recorded_time=late)
    step = steps_table(sequence(0, 9, 9)).with_columns(valid_from=late, recorded_time=late)
    backdated = steps_table(sequence(0, 8, 8, channel="call")).with_columns(
        valid_from=pl.lit(START - timedelta(days=1), dtype=TIME), recorded_time=late
    )
    contact = waited.enrollments.with_columns(
        enrollment_id="new-" + pl.col("enrollment_id"), enrolled_time=pl.col("enrolled_time") + timedelta(days=46)
    )
    planted = OutreachTables(
        enrollments=pl.concat([waited.enrollments, contact]),
        steps=pl.concat([waited.steps, step, backdated]),
        engagement=pl.concat([waited.engagement, future, belated.with_columns(recorded_time=late)]),
        outcomes=pl.concat([waited.outcomes, won]),
        strata=waited.strata,
    )
    for made in (
        lambda tables: spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=moment),
        lambda tables: steps_as_of(tables.steps, moment),
    ):
        assert made(planted).equals(made(waited))
    assert spells(waited, outcome="booked_call", horizon_days=HORIZON, as_of=moment).height > 2_000


def test_a_withdrawn_outcome_does_not_count() -> None:
    tables = organisation(as_planned, annoying, planned=PLANNED, contacts=50)
    gone = tables.outcomes.with_columns(withdrawn_time=pl.lit(AS_OF - timedelta(days=1), dtype=TIME))
    rows = spells(replace(tables, outcomes=gone), outcome="booked_call", horizon_days=HORIZON, as_of=AS_OF)
    assert "outcome" not in set(rows["ending"])
    assert not rows["later"].any()


def test_spells_count_days_as_a_person_would() -> None:
    def nothing(step: Step | None, since: int, stratum: str) -> Chances:
        return Chances()

    tables = organisation(as_planned, nothing, planned=PLANNED, contacts=1)
    name = tables.enrollments["enrollment_id"][0]
    replied = engagement_table([(name, "s2-email-t2", "replied", START + timedelta(days=3, hours=1))])
    booked = outcomes_table([(name, START + timedelta(days=8))])
    tables = replace(tables, engagement=pl.concat([tables.engagement, replied]), outcomes=booked)
    rows = spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=AS_OF)
    assert rows.select("position", "wait", "days", "ending", "later").rows() == [
        (0, 0, 0, "open", None),
        (1, 0, 1, "open", None),
        (2, 1, 3, "replied", True),
    ]
    young = spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=START + timedelta(days=10))
    assert young["later"].to_list() == [None, None, None]
    before = spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=START + timedelta(days=3))
    assert before.select("position", "days", "ending").rows() == [(0, 0, "open"), (1, 1, "open"), (2, 2, "open")]


def test_the_chain_adds_up_to_what_was_seen(waited: OutreachTables) -> None:
    """With everybody in one sequence the g-computation is the plain share with the outcome."""
    tables = organisation(as_planned, hasty, planned=PLANNED, seed=8)
    plain = tables.outcomes["enrollment_id"].n_unique() / tables.enrollments.height
    change = found(tables, "drop", 3)
    assert change.status_quo == pytest.approx(plain, abs=0.004)
    rows = spells(tables, outcome="booked_call", horizon_days=HORIZON, as_of=AS_OF)
    chain = chain_of(rows, campaign_id="c", samples=3, seed=1)
    assert chain.days[0].sum() == rows["days"].sum()
    assert chain.ended[0].sum() == (rows["ending"] != "open").sum()


def test_no_sentence_claims_what_was_only_observed(waited: OutreachTables) -> None:
    changes = sequence_changes(waited, outcome="booked_call", as_of=AS_OF, rules=RULES)
    for change in changes:
        assert not CLAIMS.search(change.sentence)
        assert "suggests, not shows" in change.sentence
        assert f"n = {change.n:,}" in change.sentence
        assert change.assumption.endswith(".")
    assert CLAIMS.search("It shows that waiting is better.")


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    real = truth(sequence(0, 5, 5), hasty) - truth(PLANNED, hasty)
    gone = truth(PLANNED[:2], hasty) - truth(PLANNED, hasty)
    held = []
    for seed in range(60):
        tables = organisation(two_waits, hasty, planned=PLANNED, contacts=1_200, seed=100 + seed)
        wait, drop = found(tables, "wait_longer", 2), found(tables, "drop", 3)
        held += [wait.low < real < wait.high, drop.low < gone < drop.high]
    assert 0.88 <= np.mean(held) <= 0.99
