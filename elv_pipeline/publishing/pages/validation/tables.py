"""The tables of the validation page, ready for the template.

Belongs here: which columns and rows each table shows. Does not belong here: the page around them (``page.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elv_pipeline.publishing.pages.content import NOT_AVAILABLE, percent
from elv_pipeline.publishing.pages.report_tables import Cell, Table
from elv_pipeline.publishing.pages.validation.charts import METHODS
from elv_pipeline.publishing.pages.validation.words import SHAPES, TABLES


def columns_table(table: Mapping[str, Any]) -> Table:
    """Every loaded column: type, share of empty values, distinct values."""
    rows = tuple(
        (
            Cell(text=column["name"]),
            Cell(text=column["dtype"]),
            Cell(text=percent(column["null_share"], digits=1), muted=not column["null_share"]),
            Cell(text=f"{column['distinct']:,}"),
        )
        for column in table["columns"]
    )
    columns = ("Column", "Type", "Empty", "Different values")
    return Table(caption=f"Columns of {table['file']} as loaded", columns=columns, rows=rows, text_columns=2)


def methods_table(matching: Mapping[str, Any] | None) -> Table | None:
    """Leads by what ties them to an ad."""
    if matching is None:
        return None
    names = {**METHODS, "none": "nothing"}
    leads = matching["leads"]
    found = "Found in the ads export" if matching["against"] else "Matched"
    rows = [
        (
            Cell(text=f"By {names[method]}"),
            Cell(text=f"{count['leads']:,}", detail=percent(count["leads"] / leads, digits=1)),
            Cell(text=f"{count['matched']:,}"),
        )
        for method, count in matching["by_method"].items()
        if count["leads"]
    ]
    total = (Cell(text="All leads"), Cell(text=f"{leads:,}"), Cell(text=f"{matching['matched']:,}"))
    return Table(
        caption="What ties leads to ads",
        columns=("Tie", "Leads", found),
        rows=(*rows, total),
        note="Ids first, then the lead-to-ad map, then a name that stands for exactly one ad, ad set or campaign. An "
        "ambiguous name is never guessed.",
    )


def coverage_table(pairs: Sequence[Mapping[str, Any]]) -> Table | None:
    """Which ids of one export another one knows."""
    if not pairs:
        return None
    rows = tuple(
        (
            Cell(text=f"{TABLES[pair['table']][0]}: {pair['column']}", detail=f"counted in {pair['of']}"),
            Cell(text=TABLES[pair["found_in"]][0]),
            Cell(text=", ".join(pair["missing"]) or "all found", muted=not pair["missing"]),
            Cell(text=percent(pair["share"], digits=1) if pair["share"] is not None else NOT_AVAILABLE),
            Cell(text=f"{pair['found']:,}", detail=f"of {pair['total']:,}"),
        )
        for pair in pairs
    )
    columns = ("Id", "Looked up in", "Not found, for example", "Found", "Count")
    return Table(caption="Do the ids of the exports meet?", columns=columns, rows=rows, text_columns=3)


def times_table(times: Sequence[Mapping[str, Any]], *, timezone: str) -> Table | None:
    """How the times of each file were read."""
    if not times:
        return None
    rows = tuple(
        (
            Cell(text=found["column"], detail=found["file"]),
            Cell(text=SHAPES[found["shape"]]),
            Cell(text=found["read_in"] or "their own"),
            Cell(text=f"{found['twice']:,}" if found["shape"] == "naive" else "none possible"),
        )
        for found in times
    )
    return Table(
        caption=f"How times were read; days are local days of {timezone}",
        columns=("Column", "Holds", "Read in the zone", "Ambiguous"),
        rows=rows,
        text_columns=3,
        note="Ambiguous: times in the hour that occurs twice when clocks are put back. Each is read as the first one.",
    )
