"""A small clean organisation of outreach, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from elv_pipeline.contracts.outreach import SOURCES

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTRACTS = {source.name: source for source in SOURCES}
PEOPLE = 120


def at(hours: float) -> datetime:
    """A moment that many hours after the start."""
    return START + hours * HOUR


def clean_sources() -> dict[str, pl.DataFrame]:
    """Frames of 120 contacts, each enrolled once; every enrollment is sent two steps, every fourth one answers."""
    people = range(PEOPLE)
    contacts = [(f"C{n:03}", "webinar", "marketing", "Bayern", "retail", None, at(-200)) for n in people]
    steps = [
        ("S1", "K1", 1, "email", "T1", "Hi {first_name}, open to a demo?", 0.0, "none", None, None),
        ("S2", "K1", 2, "call", "T2", None, 3.0, "stop_on_reply", None, None),
        ("S9", "K2", 1, "email", "T9", "Hello", 0.0, "none", None, None),
    ]
    enrollments = [("org", f"E{n:03}", f"C{n:03}", "K1", at(n)) for n in people]
    events: list[tuple[Any, ...]] = []
    for n in people:
        events.append((f"E{n:03}", "S1", "sent", at(n + 1), at(n + 1), None))
        events.append((f"E{n:03}", "S2", "called", at(n + 73), at(n + 74), None))
        if n % 4 == 0:
            events.append((f"E{n:03}", "S1", "replied", at(n + 5), at(n + 6), "Gern, was kostet das?"))
    outcomes = [(f"E{n:03}", "booked_call", at(n + 80), at(n + 81), None, 12.5) for n in people[::8]]
    return {
        "contacts": table("contacts", contacts),
        "campaigns": table("campaigns", [("K1", "Spring", at(-300)), ("K2", "Autumn", None)]),
        "campaign_steps": table("campaign_steps", steps),
        "enrollments": table("enrollments", enrollments),
        "engagement_logs": table("engagement_logs", events),
        "outcomes": table("outcomes", outcomes),
    }


def table(name: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of one source, all columns in the contract's order."""
    return pl.DataFrame(rows, schema=CONTRACTS[name].schema, orient="row")


def with_rows(sources: Mapping[str, pl.DataFrame], name: str, *rows: tuple[Any, ...]) -> dict[str, pl.DataFrame]:
    """The sources with further rows of one table."""
    return {**sources, name: pl.concat([sources[name], table(name, list(rows))])}


def changed(sources: Mapping[str, pl.DataFrame], name: str, id_: str, **values: Any) -> dict[str, pl.DataFrame]:
    """The sources with other values in the rows of one table whose first id is ``id_``."""
    frame = sources[name]
    key = next(column for column in frame.columns if column.endswith("_id") and column != "org_id")
    hit = pl.col(key) == id_
    new = [
        pl.when(hit).then(pl.lit(value, dtype=frame.schema[column])).otherwise(pl.col(column)).alias(column)
        for column, value in values.items()
    ]
    return {**sources, name: frame.with_columns(new)}
