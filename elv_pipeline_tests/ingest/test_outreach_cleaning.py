from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.outreach_cleaning import CleanedOutreach, CleaningFinding, clean_outreach
from elv_pipeline.ingest.outreach_rules import RULES
from elv_pipeline.synthetic.outreach.organisation import Organisation, OutreachSpec, generate_outreach
from elv_pipeline_tests.ingest.outreach_exports import at, changed, clean_sources, table, with_rows

Sources = dict[str, pl.DataFrame]
Spoil = Callable[[Sources], Sources]
NEWEST = at(400)


def found(cleaned: CleanedOutreach) -> dict[tuple[str, str], CleaningFinding]:
    return {(finding.table, finding.code): finding for finding in cleaned.gate.findings}


def logs(*rows: tuple[object, ...]) -> Spoil:
    return lambda sources: with_rows(sources, "engagement_logs", *rows)


def outcome(*rows: tuple[object, ...]) -> Spoil:
    return lambda sources: with_rows(sources, "outcomes", *rows)


def test_clean_exports_are_ready_and_lose_nothing() -> None:
    sources = clean_sources()
    cleaned = clean_outreach(sources, known_until=NEWEST)
    assert cleaned.gate.verdict == "ready"
    assert cleaned.gate.findings == ()
    cleaned.gate.require()
    for name, contract in CANONICAL.items():
        assert cleaned.tables[name].height == sources[name].height
        assert cleaned.tables[name].schema == contract.schema
    assert cleaned.tables["outcomes"]["value_micros"].unique().to_list() == [12_500_000]


def test_a_status_of_unknown_time_tells_no_moment_of_the_past() -> None:
    """Planted: the contacts that convert are customers today, and nobody knows since when."""
    sources = clean_sources()
    planted = sources["contacts"].with_columns(
        qualification_status=pl.lit("customer"), recorded_time=pl.lit(None, sources["contacts"]["recorded_time"].dtype)
    )
    cleaned = clean_outreach({**sources, "contacts": planted}, known_until=NEWEST)
    assert cleaned.tables["contacts"]["qualification_status"].null_count() == planted.height
    finding = found(cleaned)["contacts", "status_of_unknown_time"]
    assert (finding.effect, finding.rows, finding.severity) == ("repaired", planted.height, "warning")
    kept = clean_outreach(sources, known_until=NEWEST).tables["contacts"]
    assert kept["qualification_status"].to_list() == ["marketing"] * kept.height


def test_an_opt_out_is_an_event_that_answers_a_step() -> None:
    sources = logs(("E001", "S1", "opted_out", at(4), at(4), None))(clean_sources())
    cleaned = clean_outreach(sources, known_until=NEWEST)
    assert cleaned.gate.verdict == "ready"
    assert "opted_out" in cleaned.tables["engagement_logs"]["event"].to_list()


def test_replies_become_properties_and_their_text_is_gone() -> None:
    events = clean_outreach(clean_sources()).tables["engagement_logs"]
    replies = events.filter(pl.col("event") == "replied")
    assert replies.select("reply_characters", "reply_words", "reply_questions").unique().row(0) == (21, 4, 1)
    assert (replies["reply_sentiment"] > 0).all()
    assert events.filter(pl.col("event") != "replied")["reply_words"].null_count() == 240
    assert "response_text" not in events.columns


E, S = "E000", "S1"
DROPPED: dict[str, tuple[str, str, str, Spoil]] = {
    "duplicate": (
        "engagement_logs",
        "exact_duplicate",
        "E000",
        logs((E, S, "sent", at(1), at(1), None)),
    ),
    "repeat": (
        "engagement_logs",
        "repeated_key",
        "E000",
        logs((E, S, "sent", at(1), at(9), None)),
    ),
    "unknown enrollment": (
        "engagement_logs",
        "unknown_enrollment_id",
        "E999",
        logs(("E999", S, "sent", at(1), at(1), None)),
    ),
    "unknown step": ("engagement_logs", "unknown_step_id", "E000", logs((E, "S8", "sent", at(1), at(1), None))),
    "unknown event": ("engagement_logs", "unknown_event", "E000", logs((E, S, "clicked", at(2), at(2), None))),
    "no time": ("engagement_logs", "empty_column", "E000", logs((E, S, "opened", None, at(2), None))),
    "opened before sent": (
        "engagement_logs",
        "before_the_step",
        "E000",
        logs((E, S, "opened", at(0.5), at(3), None)),
    ),
    "replied to a step never begun": (
        "engagement_logs",
        "before_the_step",
        "E000",
        lambda sources: with_rows(
            with_rows(sources, "campaign_steps", ("S3", "K1", 3, "email", "T1", None, 1.0, None, None, None)),
            "engagement_logs",
            (E, "S3", "replied", at(9), at(9), "Gern"),
        ),
    ),
    "before enrollment": (
        "engagement_logs",
        "before_enrollment",
        "E005",
        logs(("E005", S, "sent", at(4), at(4), None)),
    ),
    "another campaign's step": (
        "engagement_logs",
        "step_of_another_campaign",
        "E000",
        logs((E, "S9", "sent", at(2), at(2), None)),
    ),
    "future": (
        "engagement_logs",
        "event_time_in_the_future",
        "E000",
        logs((E, S, "called", at(401), None, None)),
    ),
    "long ago": (
        "engagement_logs",
        "implausible_event_time",
        "E000",
        logs((E, S, "called", datetime.fromisoformat("1970-01-01T00:00:00+00:00"), None, None)),
    ),
    "outcome before enrollment": (
        "outcomes",
        "before_enrollment",
        "E005",
        outcome(("E005", "qualified", at(4), at(4), None, None)),
    ),
    "outcome of nobody": (
        "outcomes",
        "unknown_enrollment_id",
        "E999",
        outcome(("E999", "qualified", at(4), at(4), None, None)),
    ),
    "outcome of an unknown kind": (
        "outcomes",
        "unknown_outcome",
        "E000",
        outcome((E, "won", at(4), at(4), None, None)),
    ),
    "enrollment of an unknown contact": (
        "enrollments",
        "unknown_contact_id",
        "E900",
        lambda sources: with_rows(sources, "enrollments", ("org", "E900", "C999", "K1", at(3))),
    ),
    "enrollment in an unknown campaign": (
        "enrollments",
        "unknown_campaign_id",
        "E900",
        lambda sources: with_rows(sources, "enrollments", ("org", "E900", "C001", "K7", at(3))),
    ),
    "enrolled twice": (
        "enrollments",
        "repeated_key",
        "E001",
        lambda sources: with_rows(sources, "enrollments", ("org", "E001", "C000", "K1", at(300))),
    ),
    "step of two campaigns": (
        "campaign_steps",
        "step_of_two_campaigns",
        "S9",
        lambda sources: with_rows(
            sources, "campaign_steps", ("S9", "K1", 1, "email", "T9", None, 0.0, "none", at(5), at(5))
        ),
    ),
    "place 0": (
        "campaign_steps",
        "implausible_position",
        "S7",
        lambda sources: with_rows(
            sources, "campaign_steps", ("S7", "K1", 0, "email", "T9", None, 0.0, "none", None, None)
        ),
    ),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_row_that_cannot_be_right_is_dropped_counted_and_explained(case: str) -> None:
    name, code, example, spoil = DROPPED[case]
    clean = clean_outreach(clean_sources(), known_until=NEWEST)
    cleaned = clean_outreach(spoil(clean_sources()), known_until=NEWEST)
    (finding,) = cleaned.gate.findings
    assert (finding.table, finding.code, finding.effect, finding.rows) == (name, code, "dropped", 1)
    assert example in finding.example
    assert finding.sentence.endswith(".")
    assert f"rule {code}" in finding.message
    assert cleaned.gate.verdict != "refused"
    if case != "replied to a step never begun":
        for each in CANONICAL:
            assert_frame_equal(cleaned.tables[each], clean.tables[each])


def test_of_several_records_of_one_event_the_first_known_stays() -> None:
    sources = logs((E, S, "replied", at(5), at(3.5) + timedelta(hours=2), "Nein"))(clean_sources())
    events = clean_outreach(sources, known_until=NEWEST).tables["engagement_logs"]
    reply = events.filter((pl.col("enrollment_id") == E) & (pl.col("event") == "replied"))
    assert reply.select("recorded_time", "reply_words").rows() == [(at(5.5), 1)]


REPAIRED: dict[str, tuple[str, str, Spoil, str, object]] = {
    "writing": (
        "campaign_steps",
        "channel_in_other_writing",
        lambda sources: changed(sources, "campaign_steps", "S1", channel=" E-Mail"),
        "channel",
        "email",
    ),
    "encoding": (
        "contacts",
        "broken_encoding",
        lambda sources: changed(sources, "contacts", "C000", region="ThÃ¼ringen"),
        "region",
        "Thüringen",
    ),
    "address": (
        "contacts",
        "contact_details",
        lambda sources: changed(sources, "contacts", "C000", industry="retail someone@example.org"),
        "industry",
        None,
    ),
    "template": (
        "campaign_steps",
        "contact_details",
        lambda sources: changed(sources, "campaign_steps", "S1", template_text="Call +49 170 1234567 or a@example.org"),
        "template_text",
        "Call {contact details} or {contact details}",
    ),
    "source": (
        "contacts",
        "empty_source",
        lambda sources: changed(sources, "contacts", "C000", source=None),
        "source",
        "unknown",
    ),
    "wait": (
        "campaign_steps",
        "implausible_wait_days",
        lambda sources: changed(sources, "campaign_steps", "S1", wait_days=-4.0),
        "wait_days",
        None,
    ),
    "value": (
        "outcomes",
        "implausible_value",
        lambda sources: changed(sources, "outcomes", "E000", value=float("nan")),
        "value_micros",
        None,
    ),
    "recorded before it happened": (
        "outcomes",
        "recorded_time_too_early",
        lambda sources: changed(sources, "outcomes", "E000", recorded_time=at(2)),
        "recorded_time",
        at(80),
    ),
    "withdrawn before it was recorded": (
        "outcomes",
        "withdrawn_time_too_early",
        lambda sources: changed(sources, "outcomes", "E000", withdrawn_time=at(80.5)),
        "withdrawn_time",
        at(81),
    ),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_a_value_that_cannot_be_right_is_repaired_and_the_row_stays(case: str) -> None:
    name, code, spoil, column, value = REPAIRED[case]
    sources = clean_sources()
    cleaned = clean_outreach(spoil(sources), known_until=NEWEST)
    finding = found(cleaned)[name, code]
    assert (finding.effect, finding.rows) == ("repaired", 1)
    repaired = cleaned.tables[name]
    assert repaired.height == sources[name].height
    key = CANONICAL[name].key[0]
    assert repaired.filter(pl.col(key) == repaired[key].min())[column].to_list() == [value]


def test_texts_of_replies_are_repaired_before_they_are_read() -> None:
    sources = changed(clean_sources(), "engagement_logs", "E000", response_text="SchÃ¶n, sehr gern")
    cleaned = clean_outreach(sources, known_until=NEWEST)
    events = cleaned.tables["engagement_logs"]
    assert found(cleaned)["engagement_logs", "text_without_reply"].rows == 2
    assert found(cleaned)["engagement_logs", "broken_encoding"].rows == 1
    reply = events.filter((pl.col("enrollment_id") == "E000") & (pl.col("event") == "replied"))
    assert reply["reply_characters"].to_list() == [16]


def test_an_answer_counts_as_known_when_the_step_it_answers_is() -> None:
    late = changed(clean_sources(), "engagement_logs", "E000", recorded_time=at(90))
    spoiled = late["engagement_logs"].with_columns(
        pl.when(pl.col("event") == "replied").then(at(6)).otherwise("recorded_time").alias("recorded_time")
    )
    cleaned = clean_outreach({**late, "engagement_logs": spoiled}, known_until=NEWEST)
    events = cleaned.tables["engagement_logs"].filter(pl.col("enrollment_id") == "E000")
    assert found(cleaned)["engagement_logs", "known_before_the_step"].rows == 1
    assert events.filter(pl.col("event") == "replied")["recorded_time"].to_list() == [at(90)]


def test_what_arrives_later_changes_nothing_that_was_known() -> None:
    """Rows recorded after a moment, whatever they claim about the past, leave the rows known then as they were."""
    now = at(60)
    sources = clean_sources()
    past = {
        name: frame.filter(pl.col("recorded_time").is_null() | (pl.col("recorded_time") <= now))
        if "recorded_time" in frame.columns
        else frame
        for name, frame in sources.items()
    }
    past["enrollments"] = past["enrollments"].filter(pl.col("enrolled_time") <= now)
    past = logs((E, "S2", "replied", at(30), at(31), "Nein"))(past)  # nothing known began that step
    future = [
        (E, "S2", "called", at(29), at(70), None),
        (E, S, "sent", at(2), at(71), None),
        (E, S, "opened", at(5), at(72), None),
        (E, S, "replied", at(5), at(72), "Nein danke, kein Interesse"),
        ("E001", S, "sent", at(900), at(900), None),
    ]
    grown = with_rows(past, "engagement_logs", *future)
    grown = with_rows(grown, "campaign_steps", ("S1", "K2", 1, "email", "T1", None, 0.0, "none", at(70), at(70)))
    grown = with_rows(grown, "outcomes", (E, "booked_call", at(1), at(90), None, None))
    before, after = (clean_outreach(each, known_until=until) for each, until in ((past, now), (grown, at(1000))))
    for name, frame in before.tables.items():
        known = after.tables[name]
        if name in ("engagement_logs", "outcomes"):
            known = known.filter(pl.col("recorded_time") <= now)
        assert_frame_equal(known, frame)
    assert after.tables["engagement_logs"].height > before.tables["engagement_logs"].height


def test_a_step_stays_in_the_campaign_that_it_was_first_recorded_in() -> None:
    later = ("S7", "K1", 3, "email", "T1", None, 1.0, "none", None, at(6))
    first = ("S7", "K2", 3, "email", "T1", None, 1.0, "none", None, at(5))
    cleaned = clean_outreach(with_rows(clean_sources(), "campaign_steps", later, first), known_until=NEWEST)
    steps = cleaned.tables["campaign_steps"].filter(pl.col("step_id") == "S7")
    assert steps.select("campaign_id", "recorded_time").rows() == [("K2", at(5))]


def test_an_export_with_every_row_twice_warns_and_is_used() -> None:
    sources = clean_sources()
    twice = {name: pl.concat([frame, frame]) for name, frame in sources.items()}
    cleaned = clean_outreach(twice, known_until=NEWEST)
    assert cleaned.gate.verdict == "with warnings"
    assert {finding.code for finding in cleaned.gate.findings} == {"exact_duplicate"}
    for name, frame in clean_outreach(sources, known_until=NEWEST).tables.items():
        assert_frame_equal(cleaned.tables[name], frame)


def test_enrollments_that_lost_an_outcome_are_told_and_those_that_lost_a_copy_are_not() -> None:
    spoil = outcome(
        ("E005", "qualified", at(4), at(4), None, None),  # before its enrollment
        ("E007", "won", at(90), at(90), None, None),
        (E, "booked_call", at(80), at(81), None, 12.5),  # exact copies, and the same recorded again
        (E, "booked_call", at(80), at(89), None, None),
        ("E009", "Booked call", at(95), at(95), None, None),  # repaired
    )
    cleaned = clean_outreach(spoil(clean_sources()), known_until=NEWEST)
    assert cleaned.unobserved.to_list() == ["E005", "E007"]
    assert clean_outreach(clean_sources()).unobserved.to_list() == []


def spoiled_in_every_way() -> Sources:
    sources = clean_sources()
    for _, _, _, spoil in DROPPED.values():
        sources = spoil(sources)
    for _, _, spoil, _, _ in REPAIRED.values():
        sources = spoil(sources)
    return sources


def test_the_result_does_not_depend_on_the_order_of_rows() -> None:
    sources = spoiled_in_every_way()
    expected = clean_outreach(sources, known_until=NEWEST)
    assert len(expected.gate.findings) > 20
    for seed in (1, 2):
        shuffled = {name: frame.sample(fraction=1.0, shuffle=True, seed=seed) for name, frame in sources.items()}
        cleaned = clean_outreach(shuffled, known_until=NEWEST)
        assert cleaned.gate == expected.gate
        assert cleaned.unobserved.equals(expected.unobserved)
        for name, frame in expected.tables.items():
            assert_frame_equal(cleaned.tables[name], frame)


def test_too_many_broken_rows_refuse_with_value_place_rule_and_remedy() -> None:
    rows = [(f"E{n:03}", S, "opened", at(n + 0.5), at(n + 3), None) for n in range(40)]
    cleaned = clean_outreach(logs(*rows)(clean_sources()), known_until=NEWEST)
    assert cleaned.gate.verdict == "refused"
    with pytest.raises(ContractError) as caught:
        cleaned.gate.require()
    message = str(caught.value)
    assert "engagement_logs: 40 of 310 rows (12.9%) were dropped; at most 5% may be (rule before_the_step)" in message
    assert "For example enrollment_id 'E000', step_id 'S1'." in message
    assert "Export the sent and called events of every step" in message


def test_one_broken_row_of_few_is_an_accident_and_no_refusal() -> None:
    sources = {name: frame for name, frame in clean_sources().items() if name != "engagement_logs"}
    sources["engagement_logs"] = table(
        "engagement_logs", [(E, S, "sent", at(1), None, None), (E, S, "opened", at(0.5), None, None)]
    )
    assert clean_outreach(sources, known_until=NEWEST).gate.verdict == "with warnings"


def test_a_table_that_loses_all_its_rows_refuses() -> None:
    sources = clean_sources()
    sources["contacts"] = sources["contacts"].with_columns(qualification_status=pl.lit("odd"))
    codes = {(one.table, one.code) for one in clean_outreach(sources).gate.findings if one.severity == "refused"}
    assert {
        ("contacts", "unknown_qualification_status"),
        ("contacts", "dropped_rows"),
        ("contacts", "no_rows"),
    } <= codes


def test_rules_together_may_not_drop_too_much() -> None:
    sources = clean_sources()
    early = [(f"E{n:03}", S, "opened", at(n + 0.5), None, None) for n in range(1, 21)]
    alien = [(f"E{n:03}", "S9", "sent", at(n + 2), None, None) for n in range(1, 21)]
    lost = [("E999", S, "sent", at(n), None, None) for n in range(1, 21)]
    words = [(f"E{n:03}", S, "clicked", at(n + 2), None, None) for n in range(1, 21)]
    cleaned = clean_outreach(logs(*early, *alien, *lost, *words)(sources), known_until=NEWEST)
    assert found(cleaned)["engagement_logs", "dropped_rows"].rows == 80
    assert found(cleaned)["engagement_logs", "dropped_rows"].share == pytest.approx(80 / 350)


@pytest.mark.parametrize("case", [*DROPPED, *REPAIRED])
def test_findings_show_ids_and_nothing_else(case: str) -> None:
    spoil = DROPPED[case][3] if case in DROPPED else REPAIRED[case][2]
    told = " ".join(one.message for one in clean_outreach(spoil(clean_sources()), known_until=NEWEST).gate.findings)
    for secret in ("Bayern", "ThÃ¼", "example.org", "1234567", "Gern", "clicked"):
        assert secret not in told


def test_an_id_that_is_an_address_is_not_shown() -> None:
    sources = logs(("someone@example.org", S, "sent", at(1), None, None))(clean_sources())
    (finding,) = clean_outreach(sources, known_until=NEWEST).gate.findings
    assert "withheld" in finding.example
    assert "example.org" not in finding.message


def test_without_a_given_moment_the_newest_record_and_a_week_decide() -> None:
    sources = clean_sources()
    newest = sources["engagement_logs"]["recorded_time"].max()
    assert isinstance(newest, datetime)
    week = newest + timedelta(days=7)
    rows = [(E, S, "called", week, None, None), (E, S, "called", week + timedelta(seconds=1), None, None)]
    spoiled = logs(*rows)(sources)
    cleaned = clean_outreach(spoiled)
    assert cleaned.gate.known_until == week
    assert found(cleaned)["engagement_logs", "event_time_in_the_future"].rows == 1
    unrecorded = {**spoiled, "engagement_logs": spoiled["engagement_logs"].drop("recorded_time")}
    assert clean_outreach(unrecorded).gate.known_until is None


def test_optional_columns_and_outcomes_may_be_absent() -> None:
    sources = {name: frame for name, frame in clean_sources().items() if name != "outcomes"}
    sources["engagement_logs"] = sources["engagement_logs"].drop("recorded_time", "response_text")
    sources["campaign_steps"] = sources["campaign_steps"].drop("decision_point", "valid_from")
    cleaned = clean_outreach(sources)
    assert cleaned.gate.verdict == "ready"
    assert cleaned.tables["outcomes"].is_empty()
    assert (cleaned.tables["engagement_logs"]["recorded_time"] == cleaned.tables["engagement_logs"]["event_time"]).all()
    assert cleaned.tables["campaign_steps"]["decision_point"].to_list() == ["none"] * 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda sources: {**sources, "contacts": sources["contacts"].drop("source")},
            "contacts: required column 'source'",
        ),
        (lambda sources: {n: f for n, f in sources.items() if n != "campaigns"}, "campaigns is missing"),
        (
            lambda sources: {
                **sources,
                "enrollments": sources["enrollments"].with_columns(pl.col("enrolled_time").cast(pl.String)),
            },
            "enrollments: enrolled_time has type text; it must be timestamp",
        ),
    ],
)
def test_what_is_not_the_source_contract_is_refused(
    spoil: Callable[[Mapping[str, pl.DataFrame]], Sources], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        clean_outreach(spoil(clean_sources()))


def test_rules_are_declared_once_each_in_the_order_of_the_tables_with_sentences_and_remedies() -> None:
    names = [(rule.table, rule.code) for rule in RULES]
    assert len(names) == len(set(names))
    assert list(dict.fromkeys(rule.table for rule in RULES)) == list(CANONICAL)
    for rule in RULES:
        assert dataclasses.is_dataclass(rule)
        assert rule.sentence.endswith(".")
        assert rule.remedy.endswith(".")
        assert (rule.effect == "repaired") == (rule.repair is not None)
        assert rule.most is None or rule.effect == "dropped"


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(OutreachSpec(contacts=1_500, days=120, dirt=0.02))


def test_what_was_spoiled_on_purpose_is_found_and_nothing_much_besides(organisation: Organisation) -> None:
    cleaned = clean_outreach({name: getattr(organisation, name) for name in CANONICAL})
    cleaned.gate.require()
    planted = {(kind, table): rows for kind, table, rows in _planted(organisation).rows()}
    counted = {key: finding.rows for key, finding in found(cleaned).items()}
    assert counted["outcomes", "exact_duplicate"] == planted["exact_duplicate", "outcomes"] > 0
    assert counted["engagement_logs", "exact_duplicate"] == planted["exact_duplicate", "engagement_logs"] > 0
    assert counted["contacts", "broken_encoding"] == planted["mojibake", "contacts"] > 0
    early = planted["reply_before_send", "engagement_logs"]
    assert (
        early <= counted["engagement_logs", "before_the_step"] <= early + 3
    )  # sends that the end of the period cut off
    regions = cleaned.tables["contacts"]["region"].drop_nulls()
    assert not regions.str.contains("Ã").any()


def test_all_findings_about_a_clean_organisation_are_expected() -> None:
    organisation = generate_outreach(OutreachSpec(contacts=1_500, days=120, dirt=0))
    gate = clean_outreach({name: getattr(organisation, name) for name in CANONICAL}).gate
    assert gate.verdict == "ready", [finding.message for finding in gate.findings]


def _planted(organisation: Organisation) -> pl.DataFrame:
    return organisation.dirt.group_by("kind", "table").agg(pl.col("rows").sum())
