"""Opening an export, whatever its place, format and platform: the door between files and the canonical tables.

Belongs here: the order of finding, recognising, reading and cleaning, and joining several files. Does not belong here:
any of these by itself (``locations``, ``formats``, ``connectors``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.connectors.base import Draft
from elv_pipeline.ingest.connectors.cleaning import with_decimal_point
from elv_pipeline.ingest.connectors.matching import HeaderMatch, recognise
from elv_pipeline.ingest.connectors.registry import candidates_for
from elv_pipeline.ingest.locations import ExportFile, is_url, locate
from elv_pipeline.ingest.parsing.categories import as_categories, types_to_read
from elv_pipeline.ingest.parsing.formats import read_any, rows_holding
from elv_pipeline.ingest.parsing.numbers import in_one_form
from elv_pipeline.ingest.parsing.text_table import Layout
from elv_pipeline.ingest.personal_values import newest_of, noted_in, without_personal_values
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile
from elv_pipeline.ingest.stored_ids import is_hashed_already, stored_ids
from elv_pipeline.settings import PipelineConfig

_RECORDED = "recorded_time"


def open_export(
    path: Path | str, *, config: PipelineConfig, source: TableContract, allow_no_rows: bool = False
) -> SourceFile:
    """Read the known columns of one export, or of all files of a folder or glob (see ``SourceFile``).

    Args:
        path: a file, folder, glob or URL (see ``locate``).
        config: names the connector and the form of numbers.
        source: contract of the table that the export should hold.
        allow_no_rows: whether a header alone is valid.

    Raises:
        ContractError: nothing readable is there, or it cannot be read as this table.
    """
    place = str(path)
    files = locate(place, table=source.name)
    parts = [open_file(file, config=config, source=source, allow_no_rows=allow_no_rows) for file in files]
    return parts[0] if len(parts) == 1 else _joined(parts, place=place, source=source)


def open_file(
    file: ExportFile, *, config: PipelineConfig, source: TableContract, allow_no_rows: bool = False
) -> SourceFile:
    """Read the known columns of one file; arguments and errors are those of ``open_export``."""
    # Of an extract the manifest tells that a window without rows was covered; an export without rows is a mistake.
    allow_no_rows = allow_no_rows or file.snapshot is not None
    _require_plain_numbers(file, config, table=source.name)
    candidates = candidates_for(source.name, config, snapshot=file.snapshot is not None)
    decimal_comma = config.has_decimal_comma(source.name)

    def match(header: Sequence[str]) -> HeaderMatch:
        return recognise(header, file=file.name, table=source.name, candidates=candidates)

    with file.local() as local:
        table = read_any(
            local,
            choose=lambda header: _layout(match(header), source=source, decimal_comma=decimal_comma),
            name=source.name,
            decimal="," if decimal_comma else ".",
            allow_no_rows=allow_no_rows,
        )
        found = match(table.header)
        draft = Draft(
            file=file.name,
            table=source.name,
            frame=table.frame,
            headers=found.headers,
            config=config,
            rows_holding=lambda marker: rows_holding(local, marker=marker, separator=table.separator),
            currency=next(iter(found.currencies.values()), None),
        )
        draft = _cleaned(draft, found, source=source)
        rows = draft.frame
        if not is_hashed_already(local, config):  # whatever comes after this, messages included, sees no plain id
            rows = stored_ids(rows, config, table=source.name)
        before = noted_in(local, name=file.name) if file.snapshot is not None else ()
        rows = as_categories(rows, source=source)  # each value once: of a name that recurs, one is looked at
        rows, personal = without_personal_values(rows, place=file.name, contract=source)
        personal = newest_of([*before, *personal])
    _require_as_written(file, table.sha256)
    if not allow_no_rows:
        _require_rows(draft)
    columns = tuple(name for name in source.names if name in draft.frame.columns)
    return SourceFile(
        path=Path(file.name if file.is_remote else file.location),
        frame=rows.select(SOURCE_ROW, *columns),
        columns=columns,
        dropped_columns=found.dropped,
        sha256=table.sha256,
        connector=found.spec.name,
        currency=draft.currency,
        headers={column: found.headers[column] for column in columns if column in found.headers},
        notes=draft.notes,
        recorded_time=file.recorded_time(config.zone),
        personal=personal,
    )


def _require_plain_numbers(file: ExportFile, config: PipelineConfig, *, table: str) -> None:
    if file.snapshot is not None and config.has_decimal_comma(table):
        raise ContractError(
            f"{file.name}: contracts.{table}.decimal_comma is true, but a query delivers numbers with a decimal point; "
            f"1.234 must not become 1234. Set it to false, and let the query convert numbers that are kept as text."
        )


def _require_as_written(file: ExportFile, sha256: str) -> None:
    if file.snapshot is not None and file.snapshot.sha256 != sha256:
        raise ContractError(
            f"{file.name}: the file is not the one that its manifest describes (SHA-256 {sha256[:12]}…, expected "
            f"{file.snapshot.sha256[:12]}…); snapshots never change. Remove it with its manifest, then extract again."
        )


def _layout(match: HeaderMatch, *, source: TableContract, decimal_comma: bool) -> Layout:
    # Cleaning steps work on text; a file that needs none is read into types at once, which is far cheaper.
    if match.spec.steps:
        return match.layout
    return replace(match.layout, types=types_to_read(source, decimal_comma=decimal_comma))


def _require_rows(draft: Draft) -> None:
    if draft.frame.is_empty():
        left_out = ", ".join(f"{note}: {count}" for note, count in draft.notes.items())
        raise ContractError(
            f"{draft.file}: no rows remain ({left_out}); {draft.table} needs at least one. Export more days."
        )


def _cleaned(draft: Draft, match: HeaderMatch, *, source: TableContract) -> Draft:
    numbers = tuple(column.name for column in source.columns if column.dtype in (pl.Int64, pl.Float64))
    draft = with_decimal_point(draft, tuple(name for name in numbers if draft.frame.schema.get(name) == pl.String))
    for step in match.spec.steps:
        draft = step(draft)
    return draft


def _joined(parts: Sequence[SourceFile], *, place: str, source: TableContract) -> SourceFile:
    """Several files as one, in the order of their names; rows are numbered on from file to file.

    Daily figures keep the moment that their own file's name gives, since later files restate earlier ones.
    """
    restated = {"date", _RECORDED} <= set(source.names)
    columns = {column for part in parts for column in part.columns}
    frames: list[pl.DataFrame] = []
    rows = 0
    for part in parts:
        frame = part.frame
        if restated and _RECORDED not in part.columns and part.recorded_time is not None:
            frame = frame.with_columns(pl.lit(part.recorded_time.isoformat()).alias(_RECORDED))
            columns.add(_RECORDED)
        frames.append(frame.with_columns(pl.col(SOURCE_ROW) + rows))
        rows += int(frame.select(pl.col(SOURCE_ROW).max()).item() or 0)
    ordered = tuple(name for name in source.names if name in columns)
    digest = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    notes: dict[str, int] = {}
    for part in parts:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    last = place.rstrip("/").rsplit("/", 1)[-1] if is_url(place) else Path(place).name
    return SourceFile(
        path=Path(f"{last} ({len(parts)} files)"),
        frame=pl.concat(in_one_form(frames, source=source), how="diagonal").select(SOURCE_ROW, *ordered),
        columns=ordered,
        dropped_columns=tuple(dict.fromkeys(name for part in parts for name in part.dropped_columns)),
        sha256=digest,
        connector=", ".join(sorted({part.connector for part in parts})),
        currency=next((part.currency for part in parts if part.currency), None),
        headers={column: header for part in reversed(parts) for column, header in part.headers.items()},
        notes=notes,
        personal=newest_of(one for part in parts for one in part.personal),
    )
