"""The clean stage of outreach: rows that cannot be right are dropped or repaired, counted and explained, then judged.

Belongs here: the order of cleaning, the counts, the quality gate and the way into the canonical tables. Does not belong
here: the rules (``outreach_rules``), files and types (``exports``, ``parsing``), or what a reply is like
(``text_content``).

The result does not depend on the order of rows: rows are put in one order first, and where a rule keeps one of several,
it says which. Examples hold ids, never a text or a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.messages import shown_of_a_lead
from elv_pipeline.contracts.outreach import CANONICAL, NO_DECISION
from elv_pipeline.contracts.spec import UTC_TIME, TableContract, type_name
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.outreach_replies import READING, STORED, TEXT, canonical_replies, without_texts
from elv_pipeline.ingest.outreach_rule_kinds import END_OF_WINDOW, KNOWN_UNTIL, CleaningRule, Effect
from elv_pipeline.ingest.outreach_rules import RULES

Verdict = Literal["ready", "with warnings", "refused"]
Severity = Literal["expected", "warning", "refused"]
OPTIONAL = frozenset({"outcomes"})
"""Tables that a user may do without."""
NEEDED = ("contacts", "campaigns", "campaign_steps", "enrollments")
"""Tables of which a row must remain."""
MOST_DROPPED = 0.2
"""Share of a table's rows that all rules together may drop; copies of rows that stay do not count."""
MANY_ROWS = 100
"""Below as many rows a share is that of so many: one of three is an accident."""
SLACK = timedelta(days=7)
"""How far after the newest record a time may lie where nobody says until when the export reaches: enrollments of a day
without any event are no mistake."""
STANDS_ALONE = timedelta(days=30)
"""Distance to the record before, above which a newest record is a clock that runs ahead."""
_COPIES = frozenset({"exact_duplicate", "repeated_key"})
_DEFAULTS: Mapping[str, Mapping[str, pl.Expr]] = {
    "campaign_steps": {"decision_point": pl.col("decision_point").fill_null(NO_DECISION)},
    "engagement_logs": {"recorded_time": pl.coalesce("recorded_time", "event_time")},
    "outcomes": {"recorded_time": pl.coalesce("recorded_time", "outcome_time")},
}
_EFFECTS: Mapping[Effect, str] = {"dropped": "dropped", "repaired": "repaired", "kept": "kept as they are"}


@dataclass(frozen=True, kw_only=True)
class CleaningFinding:
    """What one rule found.

    Attributes:
        code: of the rule; ``dropped_rows`` and ``no_rows`` are about a whole table.
        table: the table.
        effect: what became of the rows.
        rows: how many.
        of: how many rows the table had.
        example: ids of one of them, empty where the finding is about the table.
        sentence: what was wrong and what was done.
        remedy: what to change at the source.
        severity: ``expected``, ``warning``, or ``refused`` where more than ``most`` broke the rule.
        most: the declared limit, None where there is none.
    """

    code: str
    table: str
    effect: Effect
    rows: int
    of: int
    example: str
    sentence: str
    remedy: str
    severity: Severity
    most: float | None

    @property
    def share(self) -> float:
        """Share of the table's rows."""
        return self.rows / max(self.of, 1)

    @property
    def message(self) -> str:
        """Value, place, rule and remedy in a person's words."""
        found = f"{self.table}: {self.rows:,} of {self.of:,} rows ({_percent(self.share)}) were {_EFFECTS[self.effect]}"
        limit = f"; at most {self.most:.0%} may be" if self.severity == "refused" and self.most is not None else ""
        example = f" For example {self.example}." if self.example else ""
        return f"{found}{limit} (rule {self.code}). {self.sentence}{example} {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class QualityGate:
    """The verdict about all tables.

    Attributes:
        verdict: ``refused`` where a limit is exceeded, ``with warnings`` where a rule found more than is usual.
        findings: what was found, in the order of the rules.
        known_until: the moment after which times count as in the future; None where nothing told it.
    """

    verdict: Verdict
    findings: tuple[CleaningFinding, ...]
    known_until: datetime | None

    def require(self) -> None:
        """Nothing, if the tables may be used.

        Raises:
            ContractError: with one line for each limit that is exceeded.
        """
        refused = [finding.message for finding in self.findings if finding.severity == "refused"]
        if refused:
            listed = "\n".join(f"- {message}" for message in refused)
            raise ContractError(f"The outreach tables are not clean enough to be used; nothing was written.\n{listed}")


@dataclass(frozen=True)
class CleanedOutreach:
    """Canonical tables by name (``contracts.outreach.CANONICAL``), each sorted by its key, and the verdict about them.

    The tables are complete and valid whatever the verdict; who writes them calls ``gate.require()`` first.
    ``unobserved`` holds the enrollments of which an outcome was dropped as contradictory, each once: that it is absent
    says nothing, and they must not be labelled negative.
    """

    tables: Mapping[str, pl.DataFrame]
    gate: QualityGate
    unobserved: pl.Series


def clean_outreach(sources: Mapping[str, pl.DataFrame], *, known_until: datetime | None = None) -> CleanedOutreach:
    """Clean all tables of outreach and judge them.

    Args:
        sources: frames by table, in the types of ``contracts.outreach.SOURCES``, or as ``read_outreach`` gives them:
            with properties of replies for their texts. Optional columns and ``outcomes`` may be absent; other columns,
            and an order of rows, do not matter.
        known_until: the moment until which the exports reach, such as that of an extract. None: ``SLACK`` after the
            newest recorded_time of engagement_logs that is no odd one out; where these have none, nothing counts as in
            the future.

    Raises:
        ContractError: a table or a required column is missing, or has another type.
    """
    supplied = {source.name: _prepared(sources, source) for source in STORED.values()}
    limit = known_until or _newest_record(sources["engagement_logs"])
    done: dict[str, pl.DataFrame] = {}
    findings: list[CleaningFinding] = []
    for table, frame in supplied.items():
        rules = [rule for rule in RULES if rule.table == table]
        done[table], found = _clean_table(frame, rules, tables=done, known_until=limit)
        findings += [*found, *_about_the_table(table, found, before=frame.height, after=done[table].height)]
    tables = {name: _canonical(frame, CANONICAL[name]) for name, frame in done.items()}
    gate = QualityGate(verdict=_verdict(findings), findings=tuple(findings), known_until=limit)
    return CleanedOutreach(tables, gate, _unobserved(supplied["outcomes"], done["outcomes"]))


def _unobserved(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    """Enrollments that lost an outcome; a copy of one that stays is no loss (rows are compared by what happened)."""
    happened = ["enrollment_id", "_outcome", "outcome_time"]
    plain = pl.col("outcome").str.to_lowercase().str.replace_all(r"[\s_-]", "").alias("_outcome")
    kept = after.select("enrollment_id", plain, "outcome_time")
    lost = before.with_columns(plain).join(kept, on=happened, how="anti", nulls_equal=True)
    return lost["enrollment_id"].drop_nulls().unique().sort()


def _percent(share: float) -> str:
    return "below 0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _prepared(sources: Mapping[str, pl.DataFrame], source: TableContract) -> pl.DataFrame:
    """The contract's columns in one order of rows, absent ones empty, defaults filled in."""
    frame = sources.get(source.name)
    if frame is None and source.name not in OPTIONAL:
        raise ContractError(f"{source.name} is missing; {source.description} Add it to the exports or queries.")
    frame = _without_texts(source.empty() if frame is None else frame)
    for column in source.columns:
        if column.name not in frame.columns and column.required:
            found = ", ".join(frame.columns) or "none"
            raise ContractError(
                f"{source.name}: required column {column.name!r} is missing; found {found}. {column.description}"
            )
        found_type = frame.schema.get(column.name, pl.Null())
        if found_type not in (column.dtype, pl.Null):
            raise ContractError(
                f"{source.name}: {column.name} has type {type_name(found_type)}; it must be {type_name(column.dtype)}. "
                f"Parse the export by its contract before it is cleaned."
            )
    chosen = frame.select(
        (pl.col(column.name) if column.name in frame.columns else pl.lit(None)).cast(column.dtype).alias(column.name)
        for column in source.columns
    )
    chosen = chosen.with_columns(**_DEFAULTS.get(source.name, {}))
    return chosen.sort(pl.all())


def _without_texts(frame: pl.DataFrame) -> pl.DataFrame:
    if TEXT not in frame.columns or "event" not in frame.columns:
        return frame
    found = frame.schema[TEXT]
    if found not in (pl.String, pl.Null):
        raise ContractError(
            f"engagement_logs: {TEXT} has type {type_name(found)}; it must be {type_name(pl.String)}. Parse the export "
            f"by its contract before it is cleaned."
        )
    return without_texts(frame)


def _newest_record(logs: pl.DataFrame) -> datetime | None:
    """The newest record, and ``SLACK``, without the few that stand alone far ahead of all others, or in the future.

    One clock that runs in 2099 must not make every time up to then plausible. Rows without recorded_time are not asked:
    what they have instead is when something happened.
    """
    if "recorded_time" not in logs.columns or logs["recorded_time"].dtype == pl.Null:
        return None
    found = logs["recorded_time"].drop_nulls().sort(descending=True)
    found = found.filter(found <= datetime.now(UTC))
    alone = max(1, int(END_OF_WINDOW * len(found))) if len(found) >= MANY_ROWS else 0
    newest: list[datetime] = found.head(alone + 1).to_list()
    for moment, next_older in pairwise(newest):
        if moment - next_older <= STANDS_ALONE:
            return moment + SLACK
    return newest[-1] + SLACK if newest else None


def _clean_table(
    frame: pl.DataFrame,
    rules: Sequence[CleaningRule],
    *,
    tables: Mapping[str, pl.DataFrame],
    known_until: datetime | None,
) -> tuple[pl.DataFrame, list[CleaningFinding]]:
    of = frame.height
    findings: list[CleaningFinding] = []
    current = frame.with_columns(pl.lit(known_until, dtype=UTC_TIME).alias(KNOWN_UNTIL))
    for rule in rules:
        looked = rule.beside(current, tables) if rule.beside else current
        marked = looked.with_columns(_broken=rule.violates().fill_null(False))
        broken = marked.filter("_broken")
        if broken.is_empty():
            continue
        findings.append(_finding(rule, broken, of=of))
        current = _applied(rule, marked).select(current.columns)
    return current.drop(KNOWN_UNTIL), findings


def _applied(rule: CleaningRule, marked: pl.DataFrame) -> pl.DataFrame:
    if rule.effect == "dropped":
        return marked.filter(~pl.col("_broken"))
    repairs = {
        name: pl.when("_broken").then(value()).otherwise(pl.col(name)).cast(marked.schema[name])
        for name, value in (rule.repair or {}).items()
    }
    return marked.with_columns(**repairs)


def _finding(rule: CleaningRule, broken: pl.DataFrame, *, of: int) -> CleaningFinding:
    share = broken.height / max(of, MANY_ROWS)
    severity: Severity = "expected" if share <= rule.expected else "warning"
    if rule.most is not None and share > rule.most:
        severity = "refused"
    return CleaningFinding(
        code=rule.code,
        table=rule.table,
        effect=rule.effect,
        rows=broken.height,
        of=of,
        example=_example(broken, rule.table),
        sentence=rule.sentence,
        remedy=rule.remedy,
        severity=severity,
        most=rule.most,
    )


def _example(broken: pl.DataFrame, table: str) -> str:
    """Ids of the first row by ids, so that the same rows in another order give the same example."""
    ids = [name for name in CANONICAL[table].key if name.endswith("_id")]
    first = broken.select(ids).sort(ids, nulls_last=True).row(0)
    return ", ".join(f"{name} {shown_of_a_lead(value, column=name)}" for name, value in zip(ids, first, strict=True))


def _about_the_table(table: str, found: Sequence[CleaningFinding], *, before: int, after: int) -> list[CleaningFinding]:
    """Findings about the rules of a table together: too much dropped, or nothing left."""
    lost = sum(one.rows for one in found if one.effect == "dropped" and one.code not in _COPIES)
    told: list[CleaningFinding] = []

    def add(code: str, *, rows: int, sentence: str, remedy: str, most: float | None) -> None:
        told.append(
            CleaningFinding(
                code=code,
                table=table,
                effect="dropped",
                rows=rows,
                of=before,
                example="",
                sentence=sentence,
                remedy=remedy,
                severity="refused",
                most=most,
            )
        )

    if lost / max(before, MANY_ROWS) > MOST_DROPPED:
        add(
            "dropped_rows",
            rows=lost,
            sentence="All rules together leave too little of the table to stand for it.",
            remedy="Correct the rules' findings above, the most frequent first.",
            most=MOST_DROPPED,
        )
    if table in NEEDED and after == 0:
        add(
            "no_rows",
            rows=before - after,
            sentence=f"No row of {table} remains; at least one is needed.",
            remedy="Widen the window of the export, or correct the findings above.",
            most=None,
        )
    return told


def _verdict(findings: Sequence[CleaningFinding]) -> Verdict:
    severities = {finding.severity for finding in findings}
    if "refused" in severities:
        return "refused"
    return "with warnings" if "warning" in severities else "ready"


def _canonical(frame: pl.DataFrame, contract: TableContract) -> pl.DataFrame:
    """The lake's form: words of replies as lists of buckets, money in millionths, sorted by key."""
    if READING in frame.columns:
        frame = canonical_replies(frame)
    if "value" in frame.columns:
        frame = frame.with_columns((pl.col("value") * MICROS).round().cast(pl.Int64).alias("value_micros"))
    ordered = frame.select(contract.names).sort(contract.key)
    return contract.validate(ordered, contract.name)
