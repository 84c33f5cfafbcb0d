"""The tables of the monitoring page, ready for the template.

Belongs here: which columns and rows each table shows. Does not belong here: the page around them (``page.py``),
figures (``charts.py``, ``cohort_charts.py``) or opening sentences (``words.py``). No row of a person and
no name of whoever decided something is shown.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from typing import Any

import polars as pl

from elv_pipeline.publishing.pages.content import NOT_AVAILABLE, moment, money, number, percent
from elv_pipeline.publishing.pages.monitoring.bands import Band, newest_count_band
from elv_pipeline.publishing.pages.monitoring.cohort_charts import FIGURE_TITLES
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent, Row, can_be_called_out, drift_strength
from elv_pipeline.publishing.pages.monitoring.drift_chart import comparison_name
from elv_pipeline.publishing.pages.monitoring.words import origin_day, short_day
from elv_pipeline.publishing.pages.report_tables import Cell, Table, interval

SHOWN_DAYS = 92
SHOWN_DRIFT = 10
SHOWN_WRITES = 20
SHOWN_ENTRIES = 30
STATUS_WORDS = {
    "held": ("waits", "care"),
    "released": ("released by hand", ""),
    "overdue": ("scored incomplete, it waited too long", "care"),
    "complete": ("became complete", "good"),
}
RECONCILED_TONES = {"holds": "good", "too few": "", "too pessimistic": "care"}


def days_table(content: MonitoringContent) -> Table | None:
    """The newest days as numbers."""
    bands, total, words = content.usual_leads, content.days.height, content.words
    if not total:
        return None
    rows = []
    for row in content.daily.tail(SHOWN_DAYS).reverse().iter_rows(named=True):
        held, drifted = row["held"], row["drifted"]
        rows.append(
            (
                Cell(text=f"{row['day']:%a} {short_day(row['day'])}", remark="held back" if held else "", muted=held),
                Cell(text=f"{row['leads']:,}", detail=_usual(bands[row["day"]])),
                Cell(text=percent(row["mean_probability"], digits=1), muted=row["mean_probability"] is None),
                Cell(text=money(row["expected_value"], currency=content.currency), muted=row["expected_value"] is None),
                Cell(text=str(row["model_version"] or NOT_AVAILABLE), muted=row["model_version"] is None),
                Cell(text=NOT_AVAILABLE if drifted is None else f"{drifted}", muted=drifted is None),
            )
        )
    part = f"the newest {SHOWN_DAYS} of {total:,}" if total > SHOWN_DAYS else f"all {total}"
    return Table(
        caption=f"Days: {part}",
        columns=("Day", words.title_rows, "Mean probability", "Expected value", "Model", "Drifted"),
        rows=tuple(rows),
        note=f"Under the {words.rows} what would be usual for that day. Drifted: comparisons called out on that day.",
    )


def cohorts_table(content: MonitoringContent) -> Table | None:
    """Promises and outcomes by week, the newest first."""
    words = content.words
    ratios = {row["cohort"]: row for row in content.calibration_by_cohort()}
    values = {row["cohort"]: row for row in content.cohorts("value")}
    rows = []
    for cohort in reversed(content.cohorts("positives")):
        ratio, value = ratios.get(cohort["cohort"], {}), values.get(cohort["cohort"], {})
        waiting = cohort["rows"] - cohort["mature_rows"]
        span = {"low": ratio.get("low"), "high": ratio.get("high")}
        show = partial(money, currency=content.currency)
        rows.append(
            (
                Cell(text=short_day(cohort["cohort"]), detail=f"model {cohort['model_versions']}", muted=bool(waiting)),
                Cell(text=f"{cohort['rows']:,}", detail=f"{waiting:,} wait" if waiting else ""),
                Cell(text=number(cohort["estimated"], digits=1)),
                Cell(text=number(cohort["realised"], digits=0), muted=cohort["realised"] is None),
                Cell(text=number(ratio.get("ratio")), detail=interval(span, number), muted=not ratio),
                Cell(text=show(value.get("estimated")), muted=value.get("estimated") is None),
                Cell(
                    text=show(value.get("realised")),
                    detail=interval({"low": value.get("realised_low"), "high": value.get("realised_high")}, show),
                    muted=value.get("realised") is None,
                ),
            )
        )
    if not rows:
        return None
    return Table(
        caption="Weeks: promised and come",
        columns=(
            *("Week from", words.title_rows, "Expected", "Observed", "Observed / expected"),
            *("Value promised", "Value come"),
        ),
        rows=tuple(rows),
        note=f"Expected and promised are those of the {words.rows} that are mature; while none is, those of all "
        f"{words.rows} of the week.",
    )


def reconciliation_table(content: MonitoringContent) -> Table | None:
    """Whether the estimates held, figure by figure."""
    figures = (content.reconciled or {}).get("figures") or {}
    rows = []
    for name, found in figures.items():
        verdict = str(found["verdict"])
        p_value = "" if found["p_value"] is None else f"chance {percent(found['p_value'])}"
        rows.append(
            (
                Cell(text=_capitalised(FIGURE_TITLES.get(name, name).format(words=content.words))),
                Cell(text=verdict, tone=RECONCILED_TONES.get(verdict, "stop")),
                Cell(text=f"{found['cohorts']}"),
                Cell(text=number(found["surprise"]), detail=p_value, muted=found["surprise"] is None),
                Cell(text=number(found["trend"]), muted=found["trend"] is None),
            )
        )
    if not rows:
        return None
    return Table(
        caption="Did the estimates hold?",
        columns=("Figure", "Verdict", "Complete weeks", "Surprise", "Change a week"),
        text_columns=2,
        rows=tuple(rows),
        note="The surprise is the mean difference in standard deviations of what chance would show; below zero is "
        "worse than estimated.",
    )


def drift_table(content: MonitoringContent) -> Table | None:
    """The comparisons of the newest day that went furthest toward their threshold."""
    found, words = content.newest_drift(), content.words
    if not found:
        return None
    ordered = sorted(found, key=lambda row: (not row["drifted"], -(drift_strength(row) or -1.0), comparison_name(row)))
    most = max(SHOWN_DRIFT, sum(row["drifted"] or False for row in found))
    rows = tuple(_drift_cells(row, content) for row in ordered[:most])
    part = f"the {most} that went furthest of {len(found)}" if len(found) > most else f"all {len(found)}"
    return Table(
        caption=f"Comparisons on {short_day(found[0]['day'])}: {part}",
        columns=("Comparison", "Verdict", "Size of the difference", "Was", "Is", "At stake", words.title_rows),
        text_columns=2,
        rows=rows,
        note=f"{sum(map(can_be_called_out, found))} of the {len(found)} comparisons can be judged; of the others too "
        "little is known, or they differ as much by themselves. Under the size what it is measured by; under the "
        f"verdict the share of its threshold. At stake: expected value of the {words.rows} concerned; for outcomes, "
        "the value by which the promise was missed.",
    )


def _drift_cells(row: Row, content: MonitoringContent) -> tuple[Cell, ...]:
    strength, psi = drift_strength(row), row.get("psi")
    share = row["kind"] in ("missing", "new_level", "prevalence")
    show = partial(percent, digits=1) if share else partial(number, digits=3)
    verdict = "called out" if row["drifted"] else "within what is usual"
    if not row["drifted"] and not can_be_called_out(row):
        verdict = "cannot be judged"
    if strength is None:
        verdict = "not compared"
    of_threshold = "" if strength is None else f"{percent(strength, digits=0)} of its threshold"
    effect = "" if row.get("effect") is None else f"{row['effect_name']} {number(row['effect'])}"
    return (
        Cell(text=comparison_name(row), detail=str(row.get("note") or "")),
        Cell(text=verdict, detail=of_threshold, tone="care" if row["drifted"] else "", muted=strength is None),
        Cell(
            text=f"PSI {number(psi, digits=3)}" if psi is not None else effect or NOT_AVAILABLE,
            detail=effect if psi is not None else "",
        ),
        *(Cell(text=show(row.get(name)), muted=row.get(name) is None) for name in ("expected", "observed")),
        Cell(
            text=money(row.get("money_at_stake"), currency=content.currency),
            muted=row.get("money_at_stake") is None,
        ),
        Cell(text=f"{row['rows_current']:,}"),
    )


def models_table(content: MonitoringContent) -> Table | None:
    """The versions that scored, the newest first."""
    origins = {str(model["version"]): str(model["origin"]) for model in content.models}
    rows = []
    for place, span in enumerate(reversed(content.model_spans())):
        origin = origins.get(span.version)
        learned = "" if origin is None else short_day(origin_day(origin, timezone=content.timezone))
        rows.append(
            (
                Cell(text=span.version, remark="in use" if place == 0 else ""),
                Cell(text=learned or NOT_AVAILABLE, muted=not learned),
                Cell(text=short_day(span.first)),
                Cell(text=short_day(span.until)),
                Cell(text=f"{span.days:,}"),
                Cell(text=f"{span.leads:,}"),
            )
        )
    if not rows:
        return None
    return Table(
        caption="Versions that scored",
        columns=("Version", "Learned until", "Scored from", "Until", "Days", content.words.title_rows),
        rows=tuple(rows[:SHOWN_ENTRIES]),
    )


def audit_table(content: MonitoringContent) -> Table | None:
    """The newest entries of the champion's log."""
    tones = {"promoted": "good", "rolled back": "stop", "awaiting approval": "care"}
    rows = tuple(
        (
            Cell(text=_when(entry["at"], content)),
            Cell(text=str(entry["decision"]), tone=tones.get(str(entry["decision"]), "")),
            Cell(text=f"{entry['from_version']} → {entry['to_version']}"),
            Cell(text=str(entry.get("reason") or NOT_AVAILABLE)),
        )
        for entry in content.log()[: -SHOWN_ENTRIES - 1 : -1]
    )
    if not rows:
        return None
    return Table(
        caption="The champion's log",
        columns=("When", "Decision", "Version", "Why"),
        text_columns=2,
        rows=rows,
        text_last=True,
    )


def inputs_table(content: MonitoringContent) -> Table | None:
    """How far each table reaches, and its newest rows beside what is usual."""
    ages = {age.table: age for age in content.freshness}
    counts = content.rows
    names = sorted({*ages, *(counts["table"].to_list() if counts is not None else [])})
    rows = []
    for name in names:
        history = None if counts is None else counts.filter(pl.col("table") == name).sort("day")
        known = history is not None and history.height > 0
        newest, found, band = _newest_rows(history) if history is not None and known else (None, None, None)
        reaches = ages[name].newest_day if name in ages else newest
        read = ages[name].recorded_at if name in ages else None
        behind = None if reaches is None else (content.today - reaches).days
        odd = band is not None and found is not None and band.place(found) in ("low", "high")
        rows.append(
            (
                Cell(text=name),
                Cell(text=short_day(reaches) if reaches else "no rows", muted=reaches is None),
                Cell(text=_behind(behind), tone="care" if behind is not None and behind > 2 else ""),
                Cell(
                    text=NOT_AVAILABLE if found is None else f"{found:,}",
                    detail=_usual(band) if band else "",
                    tone="care" if odd else "",
                    muted=found is None,
                ),
                Cell(text=_when(read.isoformat() if read else None, content), muted=read is None),
            )
        )
    if not rows:
        return None
    return Table(
        caption="Tables that the scores are made of",
        columns=("Table", "Newest day", "Behind", "Rows of its newest day", "Last read"),
        rows=tuple(rows),
    )


def held_table(content: MonitoringContent) -> Table | None:
    """Days that had to wait, the newest first; who released one stays in the record."""
    rows = []
    for key, entry in sorted((content.held or {}).items(), reverse=True)[:SHOWN_ENTRIES]:
        word, tone = STATUS_WORDS[entry["status"]]
        said = " ".join(str(finding["message"]) for finding in entry.get("findings") or [])
        scored, complete = entry.get("scored_at"), entry.get("complete_at")
        if entry["status"] == "complete" and scored and complete and _utc(scored) < _utc(complete):
            word, said = "scored incomplete, complete later", f"Nothing since {_when(entry['complete_at'], content)}."
        rows.append(
            (
                Cell(text=short_day(date.fromisoformat(key))),
                Cell(text=word, tone=tone),
                Cell(text=_when(entry.get("since"), content)),
                Cell(text=_when(entry.get("scored_at"), content), muted="scored_at" not in entry),
                Cell(text=said or "Nothing is missing any more."),
            )
        )
    if not rows:
        return None
    return Table(
        caption="Days that had to wait for their inputs",
        columns=("Day", "Status", "Noticed", "Scored", "What was missing"),
        text_columns=2,
        rows=tuple(rows),
        text_last=True,
    )


def writes_table(content: MonitoringContent) -> Table | None:
    """What the newest runs changed in the score database."""
    writes = content.writes or ()
    newest = sorted(writes, key=lambda row: (_utc(row["finished_at_utc"]), str(row["run_id"])), reverse=True)
    rows = tuple(
        (
            Cell(text=_when(_utc(row["finished_at_utc"]), content), detail=f"run {row['run_id']}"),
            Cell(text=str(row["kind"]), tone="care" if row["kind"] == "rollback" else ""),
            Cell(text=str(row.get("model_version") or NOT_AVAILABLE), muted=not row.get("model_version")),
            *(Cell(text=f"{int(row.get(name) or 0):,}") for name in ("inserted", "updated", "unchanged", "removed")),
        )
        for row in newest[:SHOWN_WRITES]
    )
    if not rows:
        return None
    return Table(
        caption="What was written to the score database",
        columns=("Written", "Kind", "Model", "Inserted", "Updated", "Unchanged", "Removed"),
        rows=rows,
        note="Rows that did not change stay untouched, so a second run of the same day inserts and updates nothing.",
    )


def _newest_rows(history: pl.DataFrame) -> tuple[date, int, Band]:
    counts = [int(count) for count in history["rows"]]
    days = history["day"].to_list()
    return days[-1], counts[-1], newest_count_band(days, counts)


def _usual(band: Band) -> str:
    if band.low is None or band.high is None:
        return ""
    return f"usual {number(band.low, digits=0)} to {number(band.high, digits=0)}"


def _behind(days: int | None) -> str:
    if days is None:
        return NOT_AVAILABLE
    return "today" if days <= 0 else f"{days} day{'' if days == 1 else 's'}"


def _when(value: Any, content: MonitoringContent) -> str:
    return moment(str(value) if value else None, timezone=content.timezone)


def _utc(value: Any) -> str:
    """A ledger's moment, which databases store without a zone."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    text = at.isoformat()
    return text if at.tzinfo is not None else f"{text}+00:00"


def _capitalised(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
