"""A validation printed for the terminal: the verdict, what to fix first, requirements, exports, checks.

Belongs here: layout of a data profile in a terminal of any width. Does not belong here: the facts
(``ingest/review/profile.py``), or the page (``publishing/pages/validation/page.py``). Nothing heavy is imported, and
nothing that comes from the data is read as markup: a campaign called "[/x]" would otherwise raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

STYLES = {"ready": "bold green", "ready with warnings": "bold yellow", "not ready": "bold red"}
_MARKS = {"good": ("ok", "green"), "care": ("!", "yellow"), "stop": ("x", "red")}
_NARROW = 110


def print_validation(profile: Mapping[str, Any], *, console: Console, details: bool = True) -> None:
    """Print a data profile (``ingest.review.profile.profile_of``).

    Args:
        profile: the document.
        console: where to print; its width decides which columns fit.
        details: whether the tables of exports and ids, and findings that ask for nothing, are printed, too.
    """
    parts: list[RenderableType] = [*_verdict(profile), *_fix_first(profile["fix_first"])]
    for name, verdict in profile["readiness"].items():
        parts += _requirements(name, verdict)
    if details:
        parts += _exports(profile["tables"], narrow=console.width < _NARROW)
        parts += _ids(profile["id_coverage"])
    parts += _findings(profile, details=details)
    for part in parts:
        # Sentences wrap for a reader, but stay whole in a file, where somebody will search for them.
        whole = isinstance(part, Text) and not console.is_terminal
        console.print(part, markup=False, highlight=False, soft_wrap=whole)


def _verdict(profile: Mapping[str, Any]) -> list[RenderableType]:
    word = Text(f"{profile['name']}: {profile['verdict']}", style=STYLES[profile["verdict"]])
    return [word, Text(profile["headline"])]


def _fix_first(actions: Iterable[Mapping[str, Any]]) -> list[RenderableType]:
    table = _grid(3)
    for place, action in enumerate(actions, start=1):
        style = "red" if action["blocking"] else "yellow"
        text = Text(action["what"], style="bold")
        leads = f" ({action['leads']:,} leads)" if action["leads"] else ""
        text.append(f"\n{action['why']}{leads}", style="not bold")
        table.add_row("", Text(str(place), style=style), text)
    return [Text("\nFix first", style="bold"), table] if table.row_count else []


def _requirements(purpose: str, verdict: Mapping[str, Any]) -> list[RenderableType]:
    head = Text(f"\nto {purpose}: ")
    head.append(verdict["verdict"], style=STYLES[verdict["verdict"]])
    if verdict["reasons"]:
        head.append(f". {'; '.join(verdict['reasons'])}")
    table = _grid(5)
    for rule in verdict["rules"]:
        tone = "good" if rule["passed"] else "stop" if rule["blocking"] else "care"
        mark, style = _MARKS[tone]
        found, required = (_amount(rule, side) for side in ("found", "required"))
        table.add_row("", Text(mark, style=style), Text(rule["label"]), Text(found, justify="right"), Text(required))
    return [head, table] if table.row_count else [head]


def _amount(rule: Mapping[str, Any], side: str) -> str:
    value, prefix = rule[side], "of at least " if side == "required" else ""
    if rule["name"] == "outcomes_export":
        return "" if side == "required" else "there" if value else "not there"
    return f"{prefix}{100 * value:.1f} %" if rule["unit"] == "share" else f"{prefix}{value:,.0f}"


def _exports(tables: Mapping[str, Any], *, narrow: bool) -> list[RenderableType]:
    """One row an export; a narrow terminal shows fewer columns rather than broken ones."""
    wide = () if narrow else ("file", "left out", "repeated", "read as")
    read = ("read up to",) if any(found.get("covered_until") for found in tables.values()) else ()
    table = Table("export", "rows", "days", *read, "without rows", *wide, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
        if column.header in ("rows", "without rows", "left out", "repeated"):
            column.justify = "right"
    for name, found in tables.items():
        spans = found["first_day"] and (found.get("days_with_rows") or (found["first_day"], found["last_day"]))
        days = f"{spans[0]} to {spans[1]}" if spans else ""
        until = tuple(found.get("covered_until") or "" for _ in read)
        missing = f"{found['missing_days']:,}" if found["first_day"] else ""
        more = (
            found["file"],
            f"{found['rows_read'] - found['rows']:,}",
            f"{found['duplicates_dropped']:,}",
            found["connector"],
        )
        cells = (name, f"{found['rows']:,}", days, *until, missing, *(() if narrow else more))
        table.add_row(*(Text(cell) for cell in cells))
    return [Text("\nExports", style="bold"), Padding(table, (0, 0, 0, 2), expand=False)] if tables else []


def _ids(pairs: Iterable[Mapping[str, Any]]) -> list[RenderableType]:
    table = _grid(4)
    for pair in pairs:
        share = "" if pair["share"] is None else f"{100 * pair['share']:.1f} %"
        counts = f"{pair['found']:,} of {pair['total']:,} {pair['of']}"
        name = f"{pair['table']}.{pair['column']} in {pair['found_in']}"
        table.add_row("", Text(name), Text(share, justify="right"), Text(counts))
    return [Text("\nIds found", style="bold"), table] if table.row_count else []


def _findings(profile: Mapping[str, Any], *, details: bool) -> list[RenderableType]:
    """Every finding with its code; those that "Fix first" tells in full only point there."""
    told = {action["why"]: place for place, action in enumerate(profile["fix_first"], start=1)}
    lines: list[RenderableType] = []
    for finding in profile["findings"]:
        if not details and finding["severity"] == "info":
            continue
        line = Text(f"{finding['severity']:<8}", style="yellow" if finding["severity"] == "warning" else "dim")
        place = told.get(finding["message"])
        text = f"see {place} above" if place else f"{finding['message']} {finding['remedy']}".strip()
        line.append(f"{finding['code']}: {text}", style="default")
        lines.append(line)
    return [Text("\nFindings", style="bold"), *lines] if lines else []


def _grid(columns: int) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in range(columns):
        table.add_column()
    return table
