from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import ADS_SOURCE, LEADS_SOURCE, OUTCOMES_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.source_file import SourceFile
from elv_pipeline.ingest.tables import read_leads, read_outcomes
from elv_pipeline_tests.ingest.meta_exports import ENGLISH, ROWS, meta_config, save, save_parquet, save_workbook, typed

LEADS = ["lead_id", "created_time", "ad_id", "e-mail"]


def read(path: Path, *, source: Any = LEADS_SOURCE, **keys: Any) -> SourceFile:
    return open_export(path, config=meta_config(path.parent, **keys), source=source)


def refusal(path: Path, *, source: Any = LEADS_SOURCE) -> str:
    with pytest.raises(ContractError) as caught:
        read(path, source=source)
    return str(caught.value)


def test_cells_become_plain_text_with_the_row_numbers_of_excel(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        [],
        [None, *LEADS],
        [None, 7.0, date(2025, 3, 1), " A1 ", "eve@example.com"],
        [],
        [None, "007", date(2025, 3, 2), True, None],
    ]
    found = read(save_workbook(tmp_path / "leads.xlsx", Leads=rows))
    assert found.frame.rows() == [(3, "7", "2025-03-01", "A1"), (5, "007", "2025-03-02", "true")]
    assert found.dropped_columns == ("(unnamed)", "e-mail")


def test_midnight_among_moments_keeps_the_shape_of_the_column(tmp_path: Path) -> None:
    rows = [LEADS, ["L1", datetime(2025, 3, 1, 9, 30), "A1"], ["L2", datetime(2025, 3, 2), "A1"]]  # noqa: DTZ001
    path = save_workbook(tmp_path / "leads.xlsx", Leads=rows)
    assert read(path).frame["created_time"].to_list() == ["2025-03-01 09:30:00", "2025-03-02 00:00:00"]
    assert read_leads(path, meta_config(tmp_path)).frame["created_time"].to_list() == [
        datetime(2025, 3, 1, 8, 30, tzinfo=UTC),
        datetime(2025, 3, 1, 23, 0, tzinfo=UTC),
    ]


def test_the_sheet_with_a_known_header_is_read(tmp_path: Path) -> None:
    leads = [LEADS, ["L1", "2025-03-01", "A1"]]
    path = save_workbook(tmp_path / "leads.xlsx", Cover=[["Report of March"]], Leads=leads)
    assert read(path).frame["lead_id"].to_list() == ["L1"]


def test_ads_manager_workbooks_are_read_from_their_raw_sheet(tmp_path: Path) -> None:
    rows = [list(ENGLISH.values()), *typed(ROWS)]
    path = save_workbook(tmp_path / "ads.xlsx", Formatted_Report=rows[:2], Raw_Data_Report=rows)
    assert read(path, source=ADS_SOURCE).frame.height == 3


def test_no_sheet_or_several_sheets_with_the_table(tmp_path: Path) -> None:
    other = [["note", "owner"], ["x", "y"]]
    none = refusal(save_workbook(tmp_path / "a.xlsx", Cover=[["Report"]], Notes=other))
    assert "a.xlsx: none of the sheets 'Cover', 'Notes' holds leads. The first one: a.xlsx: required column" in none
    leads = [LEADS, ["L1", "2025-03-01", "A1"]]
    several = refusal(save_workbook(tmp_path / "b.xlsx", March=leads, April=leads))
    assert "b.xlsx: the sheets 'March' and 'April' all look like leads; one is needed" in several


def test_workbooks_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "leads.csv"
    broken.write_bytes(b"PK\x03\x04\x00\x00")
    assert "leads.csv: not readable as an Excel workbook" in refusal(broken)
    assert "the workbook has no cells" in refusal(save_workbook(tmp_path / "empty.xlsx", Leads=[]))
    assert "no rows below the header; leads needs at least one" in refusal(
        save_workbook(tmp_path / "header.xlsx", Leads=[LEADS])
    )


def test_a_workbook_with_a_header_alone_may_be_no_outcomes(tmp_path: Path) -> None:
    path = save_workbook(tmp_path / "outcomes.xlsx", Sheet=[["lead_id", "qualified_time"]])
    found = open_export(path, config=meta_config(tmp_path), source=OUTCOMES_SOURCE, allow_no_rows=True)
    assert found.frame.schema == {"source_row": pl.Int64, "lead_id": pl.String, "qualified_time": pl.String}


def test_parquet_values_become_the_text_that_readers_expect(tmp_path: Path) -> None:
    rows = [
        (1, datetime(2025, 3, 1, 9, 30, tzinfo=UTC), 2.0, 12.34),
        (2, datetime(2025, 3, 1, 9, 30, 0, 5, tzinfo=UTC), None, float("nan")),
    ]
    path = save_parquet(tmp_path / "leads.parquet", ["Lead_ID", "created_time", "ad_id", "adset_id"], rows)
    assert read(path).frame.rows() == [
        (2, "1", "2025-03-01T09:30:00.000000Z", "2", "12.34"),
        (3, "2", "2025-03-01T09:30:00.000005Z", None, None),
    ]


def test_parquet_outcomes_reach_the_canonical_table(tmp_path: Path) -> None:
    rows = [("L1", date(2025, 3, 1)), ("L2", None)]
    path = save_parquet(tmp_path / "outcomes.parquet", ["lead_id", "qualified_time"], rows)
    assert read_outcomes(path, meta_config(tmp_path)).frame["lead_id"].to_list() == ["L1"]


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    nested = tmp_path / "nested.parquet"
    pl.DataFrame({"lead_id": [["a"]], "created_time": ["2025-03-01"]}).write_parquet(nested)
    assert "nested.parquet: column 'lead_id' holds List(String); plain values are needed" in refusal(nested)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(nested.read_bytes()[:60])
    assert "damaged.parquet: not readable as Parquet" in refusal(damaged)
    empty = tmp_path / "empty.parquet"
    pl.DataFrame({"lead_id": ["a"], "created_time": ["b"]}).clear().write_parquet(empty)
    assert "empty.parquet: no rows; leads needs at least one" in refusal(empty)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    parquet = save_parquet(tmp_path / "leads.csv", LEADS, [("L1", "2025-03-01", "A1", "x")])
    assert read(parquet).frame["lead_id"].to_list() == ["L1"]
    text = save(tmp_path, "leads.parquet", "lead_id,created_time\nL2,2025-03-01\n")
    assert read(text).frame["lead_id"].to_list() == ["L2"]
