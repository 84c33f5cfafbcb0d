"""What a rule of the clean stage of outreach is, and the kinds of rules that several tables share.

Belongs here: the form of a rule and how rules of one kind are made for a table. Does not belong here: which rules there
are (``outreach_rules``), or applying them (``outreach_cleaning``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import polars as pl

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.ingest.mojibake import is_damaged, is_repairable, repaired
from elv_pipeline.ingest.outreach_replies import DAMAGED, MENDED, READING
from elv_pipeline.ingest.parsing.contact_details import contact_details

Effect = Literal["dropped", "repaired", "kept"]
Tables = Mapping[str, pl.DataFrame]
Beside = Callable[[pl.DataFrame, Tables], pl.DataFrame]
KNOWN_UNTIL = "_known_until"
"""Column that every rule finds: the newest moment that the tables speak of, null where they do not say."""
SENDS: tuple[str, ...] = ("sent", "called")
"""Events by which a step begins."""
RESPONSES: tuple[str, ...] = ("delivered", "opened", "replied", "bounced", "opted_out")
"""Events that need one of them before."""
FIRST_PLAUSIBLE = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST_WAIT_DAYS = 365.0
LAST_POSITION = 1_000
LARGEST_VALUE = 1e9
END_OF_WINDOW = 0.001
"""Share of rows that the end of an export may part from what they belong to: one is recorded before it, one after."""
SEND_KNOWN = "_send_known"


@dataclass(frozen=True, kw_only=True)
class CleaningRule:
    """One kind of mistake.

    Attributes:
        code: what reports call it.
        table: table whose rows are judged.
        effect: what becomes of a row that breaks it.
        sentence: what is wrong and what was done, for a person.
        remedy: what to change at the source.
        violates: rows that break it; null is no violation. May read what ``beside`` adds.
        repair: new values of such rows; empty where the door has put right what is counted here.
        beside: adds columns of other tables, or orders the rows so that the first of several is the one to stay.
        expected: share of such rows up to which nothing is wrong with the data.
        most: share above which the gate refuses; None: never.
    """

    code: str
    table: str
    effect: Effect
    sentence: str
    remedy: str
    violates: Callable[[], pl.Expr]
    repair: Mapping[str, Callable[[], pl.Expr]] | None = None
    beside: Beside | None = None
    expected: float = 0.0
    most: float | None = None


def exact_duplicate(table: str) -> CleaningRule:
    """Rows that are equal in every column."""
    return CleaningRule(
        code="exact_duplicate",
        table=table,
        effect="dropped",
        sentence="The row stands in the export more than once; one of them stays.",
        remedy="Remove the join or the second export that repeats rows.",
        violates=lambda: ~pl.struct(pl.all()).is_first_distinct(),
        expected=0.01,
    )


def empty(table: str, *columns: str) -> CleaningRule:
    """Rows without one of the columns that they cannot do without."""
    named = ", ".join(columns)
    return CleaningRule(
        code="empty_column",
        table=table,
        effect="dropped",
        sentence=f"One of {named} is empty, without which the row says nothing.",
        remedy=f"Export {named} in every row.",
        violates=lambda: pl.any_horizontal(pl.col(name).is_null() for name in columns),
        most=0.05,
    )


def words(table: str, column: str, *allowed: str) -> tuple[CleaningRule, CleaningRule]:
    """Words in another writing are repaired (``E-Mail``, ``Booked call``), others cannot be placed."""
    forms = {word.replace("_", ""): word for word in allowed}

    def meant() -> pl.Expr:
        plain = pl.col(column).str.to_lowercase().str.replace_all(r"[\s_-]", "")
        return plain.replace_strict(forms, default=None, return_dtype=pl.String)

    listed = ", ".join(allowed)
    written = CleaningRule(
        code=f"{column}_in_other_writing",
        table=table,
        effect="repaired",
        sentence=f"{column} is written in another way than usual; it was put into the usual one.",
        remedy=f"Nothing has to be done; the usual words are {listed}.",
        violates=lambda: pl.col(column) != meant(),
        repair={column: meant},
        expected=1.0,
    )
    unknown = CleaningRule(
        code=f"unknown_{column}",
        table=table,
        effect="dropped",
        sentence=f"{column} holds a word that is not known, so the row cannot be placed.",
        remedy=f"Map the words of the source to {listed} in the query.",
        violates=lambda: ~pl.col(column).is_in(list(allowed)),
        most=0.05,
    )
    return written, unknown


def encoding(table: str, *columns: str) -> tuple[CleaningRule, CleaningRule]:
    """Texts that were read in another encoding: those that can be put right, and those that cannot."""
    return _encoding_rules(
        table,
        broken=lambda: pl.any_horizontal(is_repairable(pl.col(name)) for name in columns),
        repair={name: lambda name=name: repaired(pl.col(name)) for name in columns},  # type: ignore[misc]
        damaged=lambda: pl.any_horizontal(is_damaged(pl.col(name)) for name in columns),
    )


def encoding_of_replies() -> tuple[CleaningRule, CleaningRule]:
    """The same for texts of replies, which were put right at the door, and are gone."""
    return _encoding_rules(
        "engagement_logs",
        broken=lambda: pl.col(READING) == MENDED,
        repair={},
        damaged=lambda: pl.col(READING) == DAMAGED,
    )


def _encoding_rules(
    table: str,
    *,
    broken: Callable[[], pl.Expr],
    repair: Mapping[str, Callable[[], pl.Expr]],
    damaged: Callable[[], pl.Expr],
) -> tuple[CleaningRule, CleaningRule]:
    remedy = "Export as UTF-8, and read the source in the encoding that it was written in."
    return (
        CleaningRule(
            code="broken_encoding",
            table=table,
            effect="repaired",
            sentence="Letters with accents arrived as two or three odd characters each; they were put back.",
            remedy=remedy,
            violates=broken,
            repair=repair,
        ),
        CleaningRule(
            code="damaged_text",
            table=table,
            effect="kept",
            sentence="A text has lost letters, or mixes proper and broken ones; what was meant is not certain, it "
            "stays.",
            remedy=remedy,
            violates=damaged,
        ),
    )


def _personal(column: pl.Expr) -> pl.Expr:
    return column.map_batches(lambda texts: contact_details(texts), return_dtype=pl.Boolean)


def no_details(table: str, instead: Mapping[str, Callable[[], pl.Expr]], became: str) -> CleaningRule:
    """Addresses and numbers in texts; ``instead`` is what each column holds where it has one."""

    def kept(name: str) -> Callable[[], pl.Expr]:
        return lambda: pl.when(_personal(pl.col(name))).then(instead[name]()).otherwise(pl.col(name))

    return CleaningRule(
        code="contact_details",
        table=table,
        effect="repaired",
        sentence=f"A text held an e-mail address or a phone number, which must not enter; {became}.",
        remedy="Leave addresses and numbers out of the query; templates name them by a {placeholder}.",
        violates=lambda: pl.any_horizontal(_personal(pl.col(name)) for name in instead),
        repair={name: kept(name) for name in instead},
    )


def unknown(table: str, column: str, of: str) -> CleaningRule:
    """Rows that name something another table does not hold (many rows to one of it)."""

    def beside(frame: pl.DataFrame, tables: Tables) -> pl.DataFrame:
        known = tables[of].select(column).unique().with_columns(_known=pl.lit(True))
        return frame.join(known, on=column, how="left", validate="m:1", maintain_order="left")

    return CleaningRule(
        code=f"unknown_{column}",
        table=table,
        effect="dropped",
        sentence=f"{column} names something that {of} does not hold, or that an earlier rule dropped.",
        remedy=f"Let both queries cover the same {of}, and join by the same id.",
        violates=lambda: pl.col("_known").is_null(),
        beside=beside,
        expected=END_OF_WINDOW,
        most=0.05,
    )


def repeated(
    table: str, sentence: str, *, key: tuple[str, ...] | None = None, first_by: str | None = None
) -> CleaningRule:
    """Several rows with one key: the first in the order of ``first_by`` stays, of equals the least by all columns."""
    columns = list(key or CANONICAL[table].key)

    def beside(frame: pl.DataFrame, _: Tables) -> pl.DataFrame:
        return frame.sort([*([first_by] if first_by else []), *frame.columns])

    return CleaningRule(
        code="repeated_key",
        table=table,
        effect="dropped",
        sentence=sentence,
        remedy=f"Export one row for each {' and '.join(columns)}.",
        violates=lambda: ~pl.struct(columns).is_first_distinct(),
        beside=beside,
        expected=0.01,
        most=0.2,
    )


def plausible_time(table: str, column: str) -> tuple[CleaningRule, CleaningRule]:
    """Times that cannot be: long ago, and after the newest moment known."""
    too_old = CleaningRule(
        code=f"implausible_{column}",
        table=table,
        effect="dropped",
        sentence=f"{column} lies before {FIRST_PLAUSIBLE:%Y}, as where 1900 or 1970 is written for a missing time.",
        remedy=f"Leave {column} empty where it is not known.",
        violates=lambda: pl.col(column) < FIRST_PLAUSIBLE,
        most=0.02,
    )
    future = CleaningRule(
        code=f"{column}_in_the_future",
        table=table,
        effect="dropped",
        sentence=f"{column} lies after the newest moment that the export can know of.",
        remedy="Correct the clock or the time zone of the source; plans for the future are not events.",
        violates=lambda: pl.col(column) > pl.col(KNOWN_UNTIL),
        most=0.02,
    )
    return too_old, future


def recorded_late_enough(table: str, happened: str, recorded: str, what: str) -> CleaningRule:
    """Moments of recording that precede what they record."""
    return CleaningRule(
        code=f"{recorded}_too_early",
        table=table,
        effect="repaired",
        sentence=f"{recorded} lies before {happened}; {what} before, so {recorded} became {happened}.",
        remedy="Correct the clock of one of the two systems.",
        violates=lambda: pl.col(recorded) < pl.col(happened),
        repair={recorded: lambda: pl.col(happened)},
        expected=0.01,
    )


def implausible(table: str, column: str, least: float, most: float, words: str) -> CleaningRule:
    """Numbers beyond what can be meant."""
    # NaN counts as the largest number in Polars, so it lies outside, too.
    return CleaningRule(
        code=f"implausible_{column}",
        table=table,
        effect="repaired",
        sentence=f"{column} {words}; it was emptied, the row stays.",
        remedy=f"Correct {column} at the source, or leave it empty where it is not known.",
        violates=lambda: ~((pl.col(column) >= least) & (pl.col(column) <= most)),
        repair={column: lambda: pl.lit(None)},
    )


def with_enrollment(frame: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The enrollment's campaign and beginning beside each row (many rows to one enrollment)."""
    enrolled = tables["enrollments"].select("enrollment_id", _campaign="campaign_id", _enrolled="enrolled_time")
    return frame.join(enrolled, on="enrollment_id", how="left", validate="m:1", maintain_order="left")


def with_both_campaigns(frame: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The campaign of the enrollment and that of the step beside each event."""
    steps = tables["campaign_steps"].select("step_id", _step_campaign="campaign_id").unique()
    joined = with_enrollment(frame, tables)
    return joined.join(steps, on="step_id", how="left", validate="m:1", maintain_order="left")


def with_send(frame: pl.DataFrame, _: Tables) -> pl.DataFrame:
    """When it first became known that the step of an event had begun by then; null where it had not."""
    place = ["enrollment_id", "step_id"]
    sends = frame.filter(pl.col("event").is_in(SENDS)).sort("event_time", "recorded_time")
    known = sends.select(*place, "event_time", pl.col("recorded_time").cum_min().over(place).alias(SEND_KNOWN))
    last = known.unique([*place, "event_time"], keep="last", maintain_order=True)
    return frame.sort("event_time").join_asof(last, on="event_time", by=place, check_sortedness=False)


def steps_as_first_recorded(frame: pl.DataFrame, _: Tables) -> pl.DataFrame:
    """Steps in the order of recording, with the campaign that each had first."""
    ordered = frame.sort("recorded_time", "valid_from", *frame.columns)
    return ordered.with_columns(_first_campaign=pl.col("campaign_id").first().over("step_id"))
