"""What the commands of daily operation answer in the terminal.

Belongs here: layout of results as lines and tables. Does not belong here: the results, or the commands
(``cli_operation.py``). Heavy imports stay inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from elv_pipeline.answers import out

if TYPE_CHECKING:
    from elv_pipeline.orchestration.daily_life import DailyResult
    from elv_pipeline.orchestration.housekeeping import Housekeeping
    from elv_pipeline.publishing.erasure.forget import ForgetReport, Place
    from elv_pipeline.publishing.scores.undo import RollbackCounts
    from elv_pipeline.publishing.scores.upsert import UpsertCounts

_SHOWN = 20


def print_day(result: DailyResult) -> None:
    """What was scored, held, written, and what is open."""
    for day, note in result.held.items():
        reasons = " ".join(str(finding["message"]) for finding in note["findings"])
        out.print(
            f"held    {day}: {reasons} A later run scores it; 'elv release-day' lets it go as it is.", markup=False
        )
    for alert in result.alerts:
        out.print(f"{alert['severity']:<8}{alert['code']}: {alert['message']} {alert['action']}", markup=False)
    if not result.alerts:
        out.print("No alert is open.")
    if result.unwatched:
        out.print(f"note: {result.unwatched}", markup=False)
    written = result.written
    if written is None:
        return
    from elv_pipeline.problems.words import words_of_manifest

    row = words_of_manifest(result.result.document("metadata.json")).row_noun
    for late_on, count in written.get("late", {}).items():
        was = "was" if count == 1 else "were"
        out.print(f"{row.count(count)} that arrived late on {late_on} {was} scored.", markup=False)
    if written.get("withheld"):
        out.print(f"Days {result.days}: no score was written. {written['withheld']}", markup=False)
        return
    out.print(
        f"Days {result.days}: inserted={written['inserted']} updated={written['updated']} "
        f"unchanged={written['unchanged']}",
        markup=False,
    )


def print_extracts(document: dict[str, Any]) -> None:
    """Each table with its window and rows."""
    table = Table("table", "from", "until", "rows", "seconds", "columns left out", "snapshot")
    for name, entry in document.items():
        left_out = ", ".join(entry["dropped_columns"]) or "none"
        state = "as before" if entry["unchanged"] else entry["file"]
        table.add_row(
            name, entry["since"], entry["until"], f"{entry['rows']:,}", str(entry["seconds"]), left_out, state
        )
    out.print(table)


def print_written(counts: UpsertCounts, *, dry_run: bool) -> None:
    """The counts; the last line is for machines, too."""
    if dry_run:
        out.print("Dry run: the same statements ran and were taken back; nothing was written.")
    out.print(counts.line(), markup=False)


def print_rolled_back(counts: RollbackCounts) -> None:
    """Which run was undone, and the counts."""
    out.print(f"Undone: run {counts.run_id}. Leads that a later run has written again were kept.", markup=False)
    if counts.removed:
        out.print("Leads that no earlier run had scored have no score now; 'elv score --from … --to …' gives them one.")
    out.print(counts.line(), markup=False)


def print_purge(report: Housekeeping) -> None:
    """What went, and what stays although it is old."""
    verb = "would go" if report.files.dry_run else "gone"
    for kind, count in sorted(report.files.counts().items()):
        out.print(f"{kind}: {count} {verb}", markup=False)
    if report.runs.removed:
        out.print(f"records of runs: {len(report.runs.removed)} {verb}", markup=False)
    for name, why in sorted(report.files.kept_bundles.items()):
        out.print(f"kept {name}: {why}", markup=False)
    if not report.files.removed and not report.runs.removed:
        out.print(
            "Nothing to remove. Looked at: snapshots, bundles, pages, cached files, messages, leftovers, records of "
            "runs. However old, these stay: the lake, models and their registry, of each table the newest snapshot and "
            "those of days that the lake does not hold yet, and the bundles of models in use.",
            markup=False,
        )
        return
    out.print(f"{report.files.freed / 1e6:,.1f} MB {'would be freed' if report.files.dry_run else 'freed'}.")


def print_forgotten(report: ForgetReport) -> None:
    """What was erased, where it was searched for, and what is left."""
    _places("erased", report.erased)
    for table, rows in sorted(report.score_rows.items()):
        out.print(f"erased  {table}: {rows} row(s)", markup=False)
    searched = ", ".join(f"{folder} ({files})" for folder, files in sorted(report.searched.items()))
    out.print(f"searched {sum(report.searched.values())} files: {searched}", markup=False)
    _places("not ours", report.not_ours)
    _places("REMAINS", report.remaining)
    for note in report.notes:
        out.print(f"note: {note}", markup=False)
    verdict = "Nothing of ours names the lead any more." if report.proven else "The erasure is not complete; see above."
    out.print(verdict)


def _places(title: str, places: tuple[Place, ...]) -> None:
    for place in places[:_SHOWN]:
        why = f", {place.why}" if place.why else ""
        out.print(f"{title:<8}{place.file}: {place.places} place(s){why}", markup=False)
    if len(places) > _SHOWN:
        out.print(f"{title:<8}and {len(places) - _SHOWN} more")
