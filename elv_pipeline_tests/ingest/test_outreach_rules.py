"""Each rule of the clean stage finds its mistake, says so without a value, and touches nothing else."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.ingest.outreach_rules import RULES
from elv_pipeline_tests.ingest.outreach_exports import at, changed, clean_sources, with_rows
from elv_pipeline_tests.ingest.outreach_spoils import DROPPED, NEWEST, REPAIRED, E, S, found, logs


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


def test_a_step_stays_in_the_campaign_that_it_was_first_recorded_in() -> None:
    later = ("S7", "K1", 3, "email", "T1", None, 1.0, "none", None, at(6))
    first = ("S7", "K2", 3, "email", "T1", None, 1.0, "none", None, at(5))
    cleaned = clean_outreach(with_rows(clean_sources(), "campaign_steps", later, first), known_until=NEWEST)
    steps = cleaned.tables["campaign_steps"].filter(pl.col("step_id") == "S7")
    assert steps.select("campaign_id", "recorded_time").rows() == [("K2", at(5))]


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
