from __future__ import annotations

from pathlib import Path

import pytest

from elv_pipeline.contracts.lead_ads import LEADS_SOURCE, OUTCOMES_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest import csv_reader
from elv_pipeline.ingest.csv_reader import SOURCE_ROW, SourceFile, read_csv
from elv_pipeline_tests.ingest.exports import write


def read(folder: Path, text: str | bytes) -> SourceFile:
    return read_csv(write(folder, "leads.csv", text), source=LEADS_SOURCE)


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, text)
    return str(caught.value)


def test_known_columns_are_read_as_trimmed_text_with_row_numbers(tmp_path: Path) -> None:
    text = '\ufeff Lead_ID ,E-mail,CREATED_TIME\n L1 ,eve@example.com,2025-01-01\n\n"L,2","two\nlines",\n'
    found = read(tmp_path, text)
    assert found.frame.rows() == [(2, "L1", "2025-01-01"), (4, "L,2", None)]
    assert found.columns == ("lead_id", "created_time")
    assert found.dropped_columns == ("E-mail",)
    assert "eve@example.com" not in repr(found)


def test_row_numbers_go_on_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "_BLOCK_ROWS", 2)
    rows = "".join(f"L{number},2025-01-01\n" for number in range(2, 9))
    found = read(tmp_path, "lead_id,created_time\n" + rows)
    assert found.frame[SOURCE_ROW].to_list() == list(range(2, 9))
    assert found.frame["lead_id"].to_list() == [f"L{number}" for number in range(2, 9)]
    assert "row 6: 1 cells" in refusal(tmp_path, "lead_id,created_time\n" + "L,1\n" * 4 + "L\n")


def test_missing_file_names_path_and_key(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere\.csv: no such file.*paths\.leads_path"):
        read_csv(tmp_path / "nowhere.csv", source=LEADS_SOURCE)


def test_missing_column_names_file_column_and_what_was_found(tmp_path: Path) -> None:
    text = refusal(tmp_path, "lead_id,created at\nL1,2025-01-01\n")
    assert "leads.csv: required column 'created_time' is missing; found: 'lead_id', 'created at'" in text


def test_a_missing_header_row_leaks_no_value(tmp_path: Path) -> None:
    text = refusal(tmp_path, "L1,2025-01-01,eve@example.com,+49 170 1234567\n")
    assert "4 cells that look like values, so the header row seems to be missing" in text
    assert "eve" not in text
    assert "170" not in text


def test_empty_file(tmp_path: Path) -> None:
    assert "leads.csv: the file is empty (0 bytes)" in refusal(tmp_path, b"")
    assert "paths.leads_path to null" in refusal(tmp_path, b"\xef\xbb\xbf\r\n")


def test_header_alone_is_no_leads_but_may_be_no_outcomes(tmp_path: Path) -> None:
    assert "leads.csv: no rows below the header" in refusal(tmp_path, "lead_id,created_time\n\n")
    path = write(tmp_path, "outcomes.csv", "lead_id,qualified_time\n")
    found = read_csv(path, source=OUTCOMES_SOURCE, allow_no_rows=True)
    assert found.frame.is_empty()
    assert found.frame.columns == [SOURCE_ROW, "lead_id", "qualified_time"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16(tmp_path: Path, encoding: str) -> None:
    text = refusal(tmp_path, "lead_id,created_time\nL1,2025-01-01\n".encode(encoding))
    assert text == "leads.csv: the encoding is UTF-16; UTF-8 is needed. Save the file as UTF-8 CSV."


def test_latin1_names_line_and_byte(tmp_path: Path) -> None:
    content = "lead_id,created_time,city\nL1,2025-01-01,Rom\nL2,2025-01-01,Köln\n".encode("latin-1")
    text = refusal(tmp_path, content)
    assert "leads.csv line 3: byte 0xF6 at position 16 is not UTF-8" in text
    assert "Save the file as UTF-8 CSV" in text


@pytest.mark.parametrize(("separator", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_other_separators(tmp_path: Path, separator: str, words: str) -> None:
    text = refusal(tmp_path, f"lead_id{separator}created_time\nL1{separator}2025-01-01\n")
    assert f"leads.csv: the columns are separated by {words}" in text
    assert "comma-separated UTF-8 CSV" in text


def test_workbooks_and_archives(tmp_path: Path) -> None:
    assert "Excel workbook" in refusal(tmp_path, b"PK\x03\x04\x00\x00")
    assert "gzip" in refusal(tmp_path, b"\x1f\x8b\x08\x00")


@pytest.mark.parametrize("row", ["L2,2025-01-01,A1,more", "L2,2025-01-01"])
def test_ragged_row(tmp_path: Path, row: str) -> None:
    cells = row.count(",") + 1
    text = refusal(tmp_path, f"lead_id,created_time,ad_id\nL1,2025-01-01,A1\n{row}\n")
    assert f"leads.csv row 3: {cells} cells, but the header has 3" in text


def test_duplicate_header(tmp_path: Path) -> None:
    text = refusal(tmp_path, "lead_id,created_time,Lead_Id\nL1,2025-01-01,L1\n")
    assert "leads.csv row 1: column 'lead_id' appears 2 times (columns 1 and 3)" in text


def test_unclosed_quote(tmp_path: Path) -> None:
    text = refusal(tmp_path, 'lead_id,created_time\n"L1,2025-01-01\n')
    assert "not readable as CSV" in text
    assert "leads.csv line 2" in text
