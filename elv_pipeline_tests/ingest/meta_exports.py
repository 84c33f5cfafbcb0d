"""Hand-made exports in the shapes of Meta Ads Manager and Meta lead forms, in every encoding, format and language."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import polars as pl
import pyarrow as pa
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.contracts.lead_ads import ADS_SOURCE
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.source_file import SourceFile
from elv_pipeline.settings import PipelineConfig

ENGLISH = {
    "date": "Day",
    "campaign_id": "Campaign ID",
    "campaign_name": "Campaign name",
    "adset_id": "Ad set ID",
    "adset_name": "Ad set name",
    "ad_id": "Ad ID",
    "ad_name": "Ad name",
    "impressions": "Impressions",
    "clicks": "Link clicks",
    "spend": "Amount spent (EUR)",
}
ROWS: tuple[tuple[str, ...], ...] = (
    ("2025-03-01", "23850001", "Spring", "23850002", "Women", "23850003", "Video A", "1204", "35", "11.52"),
    ("2025-03-02", "23850001", "Spring", "23850002", "Women", "23850003", "Video A", "1300", "", "12"),
    ("2025-03-01", "23850001", "Spring", "23850002", "Women", "23850004", "Image, B", "310", "4", "0.1"),
)
"""Cells in the order of ``ENGLISH``; the second row has no click, which Meta leaves empty."""

LEAD_HEADER = (
    *("id", "created_time", "ad_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name"),
    *("form_id", "form_name", "is_organic", "platform", "what_is_your_budget?", "full_name", "email"),
    *("phone_number", "lead_status"),
)
_AD_CELLS = ("ag:23850003", "Video A", "as:23850002", "Women", "c:23850001", "Spring", "f:77", "Form")
LEAD_ROWS: tuple[tuple[str, ...], ...] = (
    ("l:501", "2025-03-02T09:12:33+0200", *_AD_CELLS, "false", "fb", "1000", "A", "x", "p:1", "CREATED"),
    ("l:502", "2025-03-02T23:30:00-07:00", *_AD_CELLS, "false", "IG", "2000", "B\nB", "y", "p:2", "CREATED"),
    ("l:503", "2025-03-03T10:00:00+02:00", *[""] * 6, "f:77", "Form", "true", "fb", "", "C", "z", "p:3", "CREATED"),
    (
        *("l:504", "2025-03-03T11:00:00+02:00", *[""] * 6, "f:77", "Form", "true", ""),
        *("<test lead: dummy data for what_is_your_budget?>", "<test lead: dummy data for full_name>"),
        *("test@meta.com", "p:<test lead: dummy data for phone_number>", "CREATED"),
    ),
)
"""Two leads of ads, an organic one, and one of Meta's testing tool."""


def meta_config(folder: Path, **keys: Any) -> PipelineConfig:
    """A configuration of an advertiser in Berlin; only what tests give differs from the defaults."""
    raw = {"paths": {"leads_path": "leads.csv"}, "timezone": "Europe/Berlin", **keys}
    return parse_config(raw, source=folder / "config.yaml")


def text_of(header: tuple[str, ...] | list[str], rows: Any, *, separator: str = ",") -> str:
    """A delimited file."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def ads_text(*, drop: tuple[str, ...] = (), extra: dict[str, str] | None = None, **names: str) -> str:
    """An ads export; ``names`` renames headers, ``drop`` leaves columns out, ``extra`` appends constant columns."""
    kept = [column for column in ENGLISH if column not in drop]
    places = [list(ENGLISH).index(column) for column in kept]
    extra = extra or {}
    header = [*({**ENGLISH, **names}[column] for column in kept), *extra]
    return text_of(header, [[*(row[place] for place in places), *extra.values()] for row in ROWS])


def opened(folder: Path, text: str, *, source: TableContract = ADS_SOURCE, **keys: Any) -> SourceFile:
    """An export as its connector leaves it."""
    return open_export(save(folder, "ads.csv", text), config=meta_config(folder, **keys), source=source)


def refusal(folder: Path, text: str, *, source: TableContract = ADS_SOURCE, **keys: Any) -> str:
    """What the connector layer says of an export that it refuses."""
    with pytest.raises(ContractError) as caught:
        opened(folder, text, source=source, **keys)
    return str(caught.value)


def save(folder: Path, name: str, text: str) -> Path:
    """A text in the encoding and compression that the name says: ``ads.utf16.csv``, ``ads.csv.gz``, …"""
    content = text.encode("utf-16" if ".utf16." in name else "utf-8-sig" if ".bom." in name else "utf-8")
    if name.endswith(".zst"):
        content = pa.Codec("zstd").compress(content, asbytes=True)
    packers = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    packer = next((pack for ending, pack in packers.items() if name.endswith(ending)), None)
    path = folder / name
    path.write_bytes(packer(content) if packer else content)
    return path


def save_workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    """A minimal .xlsx: numbers and dates as such, the rest as text; None is no cell, ``_`` in a name is a blank."""
    names = [name.replace("_", " ") for name in sheets]
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("[Content_Types].xml", _types(len(sheets)))
        book.writestr("_rels/.rels", _relations([("officeDocument", "xl/workbook.xml")]))
        links = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
        book.writestr("xl/_rels/workbook.xml.rels", _relations([*links, ("styles", "styles.xml")]))
        entries = "".join(
            f'<sheet name="{escape(name)}" sheetId="{number}" r:id="r{number}"/>'
            for number, name in enumerate(names, start=1)
        )
        book.writestr("xl/workbook.xml", f"<workbook {_MAIN} {_OFFICE}><sheets>{entries}</sheets></workbook>")
        book.writestr("xl/styles.xml", _STYLES)
        for number, rows in enumerate(sheets.values(), start=1):
            book.writestr(f"xl/worksheets/sheet{number}.xml", _worksheet(rows))
    return path


def typed(rows: Any) -> list[list[Any]]:
    """Rows of an ads export as Excel holds them: dates and numbers, but ids as text."""
    return [
        [date.fromisoformat(row[0]), *row[1:7], *(float(cell) if cell else None for cell in row[7:])] for row in rows
    ]


def save_parquet(path: Path, header: Any, rows: Any) -> Path:
    """A Parquet file with the types that the values have."""
    pl.DataFrame([list(row) for row in rows], schema=list(header), orient="row", strict=False).write_parquet(path)
    return path


_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_STYLES = (
    f'<styleSheet {_MAIN}><numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy-mm-dd hh:mm:ss"/></numFmts>'
    '<fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/>'
    '<xf numFmtId="164"/></cellXfs></styleSheet>'
)


def _types(sheets: int) -> str:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{kind}.worksheet+xml"/>'
        for number in range(1, sheets + 1)
    )
    return (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>{parts}</Types>'
    )


def _relations(links: list[tuple[str, str]]) -> str:
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    entries = "".join(
        f'<Relationship Id="r{number}" Type="{base}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(links, start=1)
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{entries}</Relationships>'
    )


def _worksheet(rows: list[list[Any]]) -> str:
    lines = [
        f'<row r="{number}">{"".join(_cell(value, number, place) for place, value in enumerate(row))}</row>'
        for number, row in enumerate(rows, start=1)
        if row
    ]
    return f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def _cell(value: Any, row: int, place: int) -> str:
    reference = f'r="{chr(65 + place)}{row}"'
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c {reference} t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f"<c {reference}><v>{value!r}</v></c>"
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
        serial = (moment - datetime(1899, 12, 30)).total_seconds() / 86400  # noqa: DTZ001
        return f'<c {reference} s="{2 if isinstance(value, datetime) else 1}"><v>{serial!r}</v></c>'
    return f'<c {reference} t="inlineStr"><is><t>{escape(value)}</t></is></c>'
