"""Ways in which the exports of outreach go wrong, one a rule of the clean stage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from elv_pipeline.ingest.outreach_cleaning import CleanedOutreach, CleaningFinding
from elv_pipeline_tests.ingest.outreach_exports import at, changed, clean_sources, with_rows

Sources = dict[str, pl.DataFrame]
Spoil = Callable[[Sources], Sources]
NEWEST = at(400)


def found(cleaned: CleanedOutreach) -> dict[tuple[str, str], CleaningFinding]:
    return {(finding.table, finding.code): finding for finding in cleaned.gate.findings}


def logs(*rows: tuple[object, ...]) -> Spoil:
    return lambda sources: with_rows(sources, "engagement_logs", *rows)


def outcome(*rows: tuple[object, ...]) -> Spoil:
    return lambda sources: with_rows(sources, "outcomes", *rows)


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


def spoiled_in_every_way() -> Sources:
    sources = clean_sources()
    for _, _, _, spoil in DROPPED.values():
        sources = spoil(sources)
    for _, _, spoil, _, _ in REPAIRED.values():
        sources = spoil(sources)
    return sources
