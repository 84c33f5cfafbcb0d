from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing import delimited_strict, text_table
from elv_pipeline.ingest.parsing.delimited_fast import read_fast
from elv_pipeline.ingest.parsing.delimited_strict import read_header, read_strictly
from elv_pipeline.ingest.parsing.raw_text import recognise
from elv_pipeline.ingest.parsing.text_table import Layout, TextTable, read_text_table, safe_header_name
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline_tests.ingest.exports import write

KNOWN = ("lead_id", "created_time", "ad_id")


def choose(header: list[str]) -> Layout:
    lowered = [cell.casefold() for cell in header]
    position = {name: lowered.index(name) for name in KNOWN if name in lowered}
    return Layout(position, tuple(cell for cell, low in zip(header, lowered, strict=True) if low not in position))


def read(folder: Path, text: str | bytes, *, name: str = "leads.csv", allow_no_rows: bool = False) -> TextTable:
    return read_text_table(write(folder, name, text), choose=choose, name="leads", allow_no_rows=allow_no_rows)


def refusal(folder: Path, text: str | bytes, *, name: str = "leads.csv") -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, text, name=name)
    return str(caught.value)


def test_known_columns_are_read_as_trimmed_text_with_row_numbers(tmp_path: Path) -> None:
    text = '\ufeff Lead_ID ,E-mail,CREATED_TIME\n L1 ,eve@example.com,2025-01-01\n\n"L,2","two\nlines",\n'
    found = read(tmp_path, text)
    assert found.frame.rows() == [(2, "L1", "2025-01-01"), (4, "L,2", None)]
    assert found.header == ("Lead_ID", "E-mail", "CREATED_TIME")
    assert found.layout.dropped == ("E-mail",)
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert "eve@example.com" not in repr(found)


def test_row_numbers_go_on_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_strict, "_BLOCK_ROWS", 2)
    rows = "".join(f"L{number},2025-01-01\n" for number in range(2, 9))
    found = read(tmp_path, "lead_id,created_time\n" + rows + "\nL9,2025-01-01\n")
    assert found.frame[SOURCE_ROW].to_list() == [*range(2, 9), 10]
    assert found.frame["lead_id"].to_list() == [f"L{number}" for number in range(2, 10)]
    assert "row 6: 1 cells" in refusal(tmp_path, "lead_id,created_time\n" + "L,1\n" * 4 + "L\n")


def test_missing_file_names_path_and_key(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere\.csv: no such file.*paths\.leads_path"):
        read_text_table(tmp_path / "nowhere.csv", choose=choose, name="leads")


def test_a_value_in_the_header_is_not_repeated() -> None:
    assert safe_header_name("eve@example.com") == "(withheld: not a name)"
    assert safe_header_name("+49 170 1234567") == "(withheld: not a name)"
    assert safe_header_name("") == "(unnamed)"
    assert safe_header_name("Ad name") == "Ad name"


def test_empty_file(tmp_path: Path) -> None:
    assert "leads.csv: the file is empty (0 bytes)" in refusal(tmp_path, b"")
    assert "paths.leads_path to null" in refusal(tmp_path, b"\xef\xbb\xbf\r\n")
    assert "the file is empty" in refusal(tmp_path, "\r\n".encode("utf-16"))


def test_header_alone_may_be_allowed(tmp_path: Path) -> None:
    assert "leads.csv: no rows below the header" in refusal(tmp_path, "lead_id,created_time\n\n")
    found = read(tmp_path, "lead_id,created_time\n", allow_no_rows=True)
    assert found.frame.schema == {SOURCE_ROW: pl.Int64, "lead_id": pl.String, "created_time": pl.String}
    assert found.frame.is_empty()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "lead_id\tcreated_time\tcity\nL1\t2025-01-01\tKöln ☃\n".encode(encoding)
    found = read(tmp_path, text)
    assert found.frame.rows() == [(2, "L1", "2025-01-01")]
    assert found.separator == "\t"


def test_truncated_utf16(tmp_path: Path) -> None:
    content = "lead_id\tcreated_time\nL1\t2025-01-01\n".encode("utf-16")[:-1]
    assert "begins as UTF-16 but does not go on so" in refusal(tmp_path, content)


def test_latin1_names_line_and_byte_even_in_a_column_that_is_not_loaded(tmp_path: Path) -> None:
    content = "lead_id,created_time,city\nL1,2025-01-01,Rom\nL2,2025-01-01,Köln\n".encode("latin-1")
    text = refusal(tmp_path, content)
    assert "leads.csv line 3: byte 0xF6 at position 16 is not UTF-8" in text
    assert "Save the file as UTF-8 CSV" in text
    assert "line 3: byte 0xF6" in refusal(tmp_path, gzip.compress(content))


def test_a_zero_byte_is_damage(tmp_path: Path) -> None:
    assert "leads.csv line 3: a zero byte" in refusal(tmp_path, "lead_id,created_time\nL1,2025\nL2,20\x0025\n")


def zstandard(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)  # type: ignore[no-any-return]


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard,
}


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressed_files(tmp_path: Path, ending: str) -> None:
    content = b"lead_id,created_time\n" + b"".join(b"L%d,2025-01-01\n" % number for number in range(50_000))
    packed = COMPRESSIONS[ending](content)
    found = read(tmp_path, packed, name=f"leads.csv.{ending}")
    assert found.frame.height == 50_000
    assert found.frame.row(-1) == (50_001, "L49999", "2025-01-01")
    assert found.sha256 == hashlib.sha256(packed).hexdigest()
    assert "damaged or incomplete" in refusal(tmp_path, packed[: len(packed) // 2], name=f"half.csv.{ending}")


def test_archives_and_workbooks(tmp_path: Path) -> None:
    assert "Excel workbook or zip archive" in refusal(tmp_path, b"PK\x03\x04\x00\x00")
    assert "old Excel workbook" in refusal(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_come_from_the_header(tmp_path: Path, separator: str) -> None:
    header, row = ('"lead_id"', "created_time", '"note, free"'), ("L1", "2025-01-01", f'"a{separator}b"')
    text = f"{separator.join(header)}\n{separator.join(row)}\n"
    found = read(tmp_path, text)
    assert found.separator == separator
    assert found.frame.rows() == [(2, "L1", "2025-01-01")]


@pytest.mark.parametrize("row", ["L2,2025-01-01,A1,more", "L2,2025-01-01"])
def test_ragged_row(tmp_path: Path, row: str) -> None:
    cells = row.count(",") + 1
    text = refusal(tmp_path, f"lead_id,created_time,ad_id\nL1,2025-01-01,A1\n{row}\n")
    assert f"leads.csv row 3: {cells} cells, but the header has 3" in text


def test_a_short_and_a_long_row_do_not_cancel_out_behind_a_column_that_is_not_loaded(tmp_path: Path) -> None:
    text = "lead_id,created_time,ad_id,note\n" + "L1,2025,A,x\n" * 3 + "L2,2025,A\nL3,2025,A,x,y\n"
    assert "leads.csv row 5: 3 cells (and 1 more rows nearby), but the header has 4" in refusal(tmp_path, text)


def test_unclosed_quote(tmp_path: Path) -> None:
    text = refusal(tmp_path, 'lead_id,created_time\n"L1,2025-01-01\n')
    assert "not readable as CSV" in text
    assert "leads.csv line 2" in text


def test_a_plain_file_is_left_to_the_fast_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_table, "read_strictly", None)
    found = read(tmp_path, 'lead_id,note,created_time\r\n"L""1",x,"a\r\nb"\r\nL2, ö ,\r\n\r\n\r\n')
    assert found.frame.rows() == [(2, 'L"1', "a\r\nb"), (3, "L2", None)]


def test_repeated_columns_are_categories_from_either_parser(tmp_path: Path) -> None:
    def with_categories(header: list[str]) -> Layout:
        return Layout(choose(header).position, (), {"ad_id": pl.Categorical})

    for blank in ("", "\n"):  # a blank line in the middle is left to the strict parser
        path = write(tmp_path, "leads.csv", f"lead_id,ad_id\nL1, A\n{blank}L2,\nL3,A\n")
        frame = read_text_table(path, choose=with_categories, name="leads").frame
        assert frame.schema["ad_id"] == pl.Categorical
        assert frame["ad_id"].to_list() == ["A", None, "A"]


CELLS = st.one_of(
    st.sampled_from(
        ["", " ", "a", " a ", "\u00a0b", "ö", '""', '"a"', '" a "', '"a,b"', '"a\nb"', '"a\r\nb"', '"""x"""']
    ),
    st.sampled_from(['a"b', '"a"b', '"', '"\r"', "\ta", '"a;b"', "\r", "\x00", '"a" ', '""""', "\u2028", "1.50"]),
    st.text(alphabet='a," \n\r\t;ö\x0c', max_size=5),
)
LINE_ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\n", "\n\n", "\r", "\n\r\n"])


@st.composite
def delimited(draw: st.DrawFn) -> bytes:
    width = draw(st.integers(1, 3))
    separator = draw(st.sampled_from([",", ",", ";", "\t"]))
    plain = draw(st.booleans())
    text = separator.join(KNOWN[:width]) + draw(st.sampled_from(["\n", "\r\n"]))
    end = draw(LINE_ENDS)
    for _ in range(draw(st.integers(0, 6))):
        cells = draw(st.integers(1, 4)) if not plain and draw(st.integers(0, 5)) == 0 else width
        text += separator.join(draw(CELLS) for _ in range(cells)) + (end if plain else draw(LINE_ENDS))
    text = text.removesuffix(end) if draw(st.booleans()) else text
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + text.encode()


def verdicts(content: bytes, *, loaded: int) -> tuple[pl.DataFrame | None, pl.DataFrame | str]:
    with tempfile.TemporaryDirectory() as folder:
        raw = recognise(write(Path(folder), "leads.csv", content), name="leads")
        try:
            header, separator = read_header(raw)
        except ContractError as error:
            return None, str(error)
        position = {name: place for place, name in enumerate(KNOWN[: len(header)]) if place != loaded}
        types = {"created_time": pl.Categorical}
        fast = read_fast(raw, separator=separator, width=len(header), position=position, types=types)
        try:
            strict = read_strictly(raw, separator=separator, width=len(header), position=position)
        except ContractError as error:
            return fast, str(error)
    return fast, strict.cast({name: pl.Categorical for name in types.keys() & set(strict.columns)})


@settings(max_examples=400, deadline=None)
@given(content=delimited(), left_out=st.integers(0, 5))
@example(content=b"lead_id,created_time\n1\n1,2,3\n", left_out=5)
@example(content=b"lead_id,created_time\n1\n1,2,3\n", left_out=1)
@example(content=b"lead_id;created_time\n;\n\n;;", left_out=2)
@example(content=b'lead_id,created_time\n1,"3"\r', left_out=5)
@example(content=b'lead_id,created_time\n1,"3"\n"\n",4\n\n', left_out=5)
@example(content=b"lead_id,created_time\n1,\xff\n", left_out=1)
@example(content=b"lead_id,created_time\n\xef\xbb\xbf1,2\n", left_out=5)
def test_what_the_fast_parser_accepts_the_strict_one_reads_alike(content: bytes, left_out: int) -> None:
    fast, strict = verdicts(content, loaded=left_out)
    if fast is None:
        return
    assert isinstance(strict, pl.DataFrame), strict
    assert_frame_equal(fast, strict)


def test_the_fast_parser_takes_what_spreadsheets_and_databases_write() -> None:
    quoted = b'"lead_id","created_time"\r\n' + b'"L""1","two\r\nlines, and a comma"\r\n' * 40_000 + b'"L2",""\r\n\r\n'
    fast, strict = verdicts(quoted, loaded=5)
    assert fast is not None
    assert isinstance(strict, pl.DataFrame)
    assert_frame_equal(fast, strict)
    assert fast.height == 40_001


def test_a_quote_after_much_plain_text_is_still_a_quote() -> None:
    plain = b"lead_id,created_time\n" + b"L1,2025-01-01\n" * 40_000
    for end in (b'"L2","2025,\n01"\n', b'"L2""",x\nL3,y\n'):
        fast, strict = verdicts(plain + end, loaded=5)
        assert fast is not None
        assert isinstance(strict, pl.DataFrame)
        assert_frame_equal(fast, strict)
    assert verdicts(plain + b'L2,"2025\n', loaded=5)[0] is None
    assert verdicts(plain + b'L2,2"0"25\n', loaded=5)[0] is None
