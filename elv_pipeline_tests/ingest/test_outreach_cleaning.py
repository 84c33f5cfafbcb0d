"""The clean stage as a whole: order, verdict, what is known until when, and what it refuses to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline_tests.ingest.outreach_exports import at, clean_sources, table, with_rows
from elv_pipeline_tests.ingest.outreach_spoils import (
    NEWEST,
    E,
    S,
    Sources,
    found,
    logs,
    outcome,
    spoiled_in_every_way,
)


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


@pytest.mark.parametrize("ahead", ["2099-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"])
def test_one_clock_that_runs_ahead_does_not_make_its_time_plausible(ahead: str) -> None:
    """Planted: one record of a wrong clock, and plans of that year; neither of them has happened."""
    odd = datetime.fromisoformat(ahead)
    sources = clean_sources()
    planted = logs((E, S, "opened", at(5), odd, None), (E, S, "opened", odd - timedelta(days=1), None, None))(sources)
    cleaned, expected = clean_outreach(planted), clean_outreach(sources)
    assert cleaned.gate.known_until == expected.gate.known_until
    assert found(cleaned)["engagement_logs", "recorded_time_in_the_future"].rows == 1
    assert found(cleaned)["engagement_logs", "event_time_in_the_future"].rows == 1
    assert_frame_equal(cleaned.tables["engagement_logs"], expected.tables["engagement_logs"])


def test_two_records_of_the_newest_days_are_believed() -> None:
    sources = clean_sources()
    late = at(24 * 60)
    believed = logs((E, S, "opened", late, late, None), (E, S, "replied", late, late, None))(sources)
    assert clean_outreach(believed).gate.known_until == late + timedelta(days=7)
