"""An id is found wherever it stands, never inside a longer one, and taken out without harming the rest."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from elv_pipeline.publishing.erasure.sought import ERASED, Sought
from elv_pipeline.publishing.erasure.traces import (
    clean_free_pages,
    count_in,
    erase_from,
    is_rewritable,
    why_not_rewritable,
)

LEAD, OTHER = "lead00000476", "lead000004761"
SOUGHT = Sought((LEAD,))


@pytest.mark.parametrize(
    "text",
    [
        LEAD,
        f"row 3: lead {LEAD}; the rule",
        f"lead_id '{LEAD}'.",
        f'{{"a": [{{"b": "{LEAD}"}}]}}',
        json.dumps({"inner": json.dumps({"preview": f"| id |\n{LEAD} | 3"})}),
        f"l:{LEAD},x",
        f"a\\n{LEAD}\\n",
        f"| {LEAD} | 2 |",
        f"({LEAD})",
    ],
)
def test_an_id_is_found_and_blackened_in_every_surrounding(text: str) -> None:
    assert SOUGHT.in_text(text) >= 1
    told = SOUGHT.redacted(text)
    assert LEAD not in told
    assert ERASED in told
    assert SOUGHT.in_text(told) == 0
    if text.startswith("{"):
        json.loads(told)


@pytest.mark.parametrize("text", [OTHER, f"x{LEAD}", f"{LEAD}-2", f"a-{LEAD}", f"{LEAD}.5", "lead0000047"])
def test_a_longer_id_is_another_one(text: str) -> None:
    assert SOUGHT.in_text(text) == 0
    assert SOUGHT.redacted(text) == text


def test_a_short_id_is_sought_as_a_whole_value_only() -> None:
    short = Sought(("12",))
    assert not short.is_searched_in_text
    assert short.in_text('{"rows": 12, "text": "12 leads"}') == 0
    assert short.in_text('{"dropped": ["12", "13"]}') == 1
    assert short.in_text("| 12 | C1 |") == 1
    assert short.in_text("lead_id '12' was dropped") == 1
    assert short.in_text("lead_id '123' was dropped") == 0
    assert json.loads(short.redacted('{"rows": 12, "dropped": ["12"]}')) == {"rows": 12, "dropped": [ERASED]}


def test_json_stays_the_same_but_for_the_id() -> None:
    document = {"b": 1.5, "a": [None, True, f"x {LEAD}"], "ü": "\n"}
    text = json.dumps(document, indent=2) + "\n"
    assert json.loads(SOUGHT.redacted(text)) == {**document, "a": [None, True, f"x {ERASED}"]}
    untouched = json.dumps({"b": 1.5}, indent=2) + "\n"
    assert SOUGHT.redacted(untouched) == untouched


def test_rows_of_a_parquet_file_go_and_texts_are_blackened(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    frame = pl.DataFrame(
        {
            "lead_id": [LEAD, OTHER, None],
            "note": ["x", f"like {LEAD}", None],
            "n": [1, 2, 3],
            "kind": pl.Series(["a", LEAD, "b"], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(file, metadata={"elv.hashed_ids": "mark"})
    assert count_in(file, SOUGHT) == 2
    erase_from(file, SOUGHT)
    found = pl.read_parquet(file)
    assert found["lead_id"].to_list() == [OTHER, None]
    assert found["note"].to_list() == [f"like {ERASED}", None]
    assert found["kind"].to_list() == [ERASED, "b"]
    assert found.schema == frame.schema
    assert pl.read_parquet_metadata(file)["elv.hashed_ids"] == "mark"
    assert count_in(file, SOUGHT) == 0
    assert erase_from(file, SOUGHT) == 0


def test_whole_numbers_and_lists_of_a_parquet_file_count_too(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"lead_id": [1200001, 1200002], "clicks": [1, 1200001]}).write_parquet(file)
    number = Sought(("1200001",))
    assert count_in(file, number) == 1
    erase_from(file, number)
    assert pl.read_parquet(file)["clicks"].to_list() == [1200001]
    pl.DataFrame({"reasons": [[LEAD], ["x"]], "n": [1, 2]}).write_parquet(file)
    assert count_in(file, SOUGHT) == 1
    erase_from(file, SOUGHT)
    assert pl.read_parquet(file)["n"].to_list() == [2]


def test_rows_of_a_csv_file_go_and_the_others_keep_their_bytes(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    lines = ["run_id,lead_id,p,note", f"r,{OTHER},0.10,", f'r,{LEAD},0.2,"a, b"', 'r,L3,0.3,"say ""x"", y"']
    file.write_text("\n".join(lines) + "\n")
    assert count_in(file, SOUGHT) == 1
    erase_from(file, SOUGHT)
    assert file.read_text() == "\n".join([lines[0], lines[1], lines[3]]) + "\n"


def test_values_of_a_sqlite_file_are_blackened_and_leave_no_page_behind(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    event = json.dumps({"metadata": json.dumps({"preview": f"| {LEAD} | 1 |"}), "n": 1})
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT, body BLOB, note)")
        connection.execute(
            "INSERT INTO event_logs VALUES (1, ?, ?, 5), (2, ?, NULL, NULL)",
            (event, zlib.compress(f'["{LEAD}"]'.encode()), f"about {OTHER}"),
        )
        connection.commit()
        assert count_in(file, SOUGHT) == 2
        assert erase_from(file, SOUGHT) == 2
    assert count_in(file, SOUGHT) == 0
    left = b"".join(part.read_bytes() for part in tmp_path.iterdir())
    assert LEAD.encode() not in left.replace(OTHER.encode(), b"")
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT event, body FROM event_logs ORDER BY id").fetchall()
    assert json.loads(json.loads(rows[0][0])["metadata"])["preview"] == f"| {ERASED} | 1 |"
    assert json.loads(zlib.decompress(rows[0][1])) == [ERASED]
    assert rows[1][0] == f"about {OTHER}"


def test_packed_files_and_models_are_searched_but_not_rewritten(tmp_path: Path) -> None:
    packed, model = tmp_path / "a.csv.gz", tmp_path / "model.joblib"
    packed.write_bytes(gzip.compress(f"lead_id\n{LEAD}\n".encode()))
    model.write_bytes(b'\x80\x04\x95{"example": "' + LEAD.encode() + b'"}\x94.')
    for file in (packed, model):
        assert count_in(file, SOUGHT) == 1
        assert not is_rewritable(file)


def test_an_e_mail_as_id_is_told_from_a_longer_one() -> None:
    mail = Sought(("ada@example.org",))
    assert mail.in_text("from ada@example.org today") == 1
    assert mail.in_text("from x+ada@example.org or nada@example.org") == 0
    assert mail.in_text("ada@example.org.uk") == 0


def test_bytes_of_rows_deleted_long_ago_go_too(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("CREATE TABLE leads (id TEXT)")
        connection.executemany("INSERT INTO leads VALUES (?)", [(SOUGHT.ids[0],)] * 500)
        connection.commit()
        connection.execute("DELETE FROM leads")
        connection.commit()
    assert SOUGHT.ids[0].encode() in file.read_bytes()
    assert count_in(file, SOUGHT) == 0
    assert clean_free_pages(file, SOUGHT)
    assert SOUGHT.ids[0].encode() not in file.read_bytes()
    assert not clean_free_pages(file, SOUGHT)


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in members.items():
            archive.writestr(name, inside)
    return content.getvalue()


def database(file: Path) -> bytes:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", (LEAD,))
        connection.commit()
    return file.read_bytes()


def test_archives_are_looked_into_and_not_rewritten(tmp_path: Path) -> None:
    table = io.BytesIO()
    pl.DataFrame({"lead_id": [LEAD, OTHER]}).write_parquet(table)
    members = {
        "a.csv": f"lead_id\n{LEAD}\n{OTHER}\n".encode(),
        "b.parquet": table.getvalue(),
        "c.db": database(tmp_path / "c.db"),
        "d.zip": zipped({"inner.txt": f"about {LEAD}".encode()}),
        f"{LEAD}/e": b"",
        "f.txt": OTHER.encode(),
    }
    for name, content in members.items():
        file = tmp_path / "one.zip"
        file.write_bytes(zipped({name: content}))
        assert count_in(file, SOUGHT) == (name != "f.txt"), name
    file.write_bytes(zipped(members))
    before = file.read_bytes()
    assert count_in(file, SOUGHT) == 5
    assert "packed file" in why_not_rewritable(file)
    assert erase_from(file, SOUGHT) == 0
    assert file.read_bytes() == before
    file.write_bytes(b"PK\x03\x04 broken " + LEAD.encode())
    assert count_in(file, SOUGHT) == 1


@pytest.mark.parametrize("name", ["core.bin", "export.csv", "latin.json"])
def test_bytes_that_are_no_text_stay_and_say_why(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"lead_id,n\n" + LEAD.encode() + b",M\xfcller\n")
    before = file.read_bytes()
    assert count_in(file, SOUGHT) == 1
    assert "UTF-8" in why_not_rewritable(file)
    assert erase_from(file, SOUGHT) == 0
    assert file.read_bytes() == before


def test_a_csv_that_is_no_table_is_blackened_as_text(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(f"a\n{LEAD},1,2\nx,y\n")
    assert erase_from(file, SOUGHT) == 1
    assert file.read_text() == f"a\n{ERASED},1,2\nx,y\n"


def test_a_packed_value_that_is_no_text_stays_and_is_found_again(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (a TEXT, b BLOB)")
        connection.execute("INSERT INTO t VALUES (?, ?)", (LEAD, b"\xff\xfe " + LEAD.encode()))
        connection.commit()
    erase_from(file, SOUGHT)
    assert count_in(file, SOUGHT) == 1


@pytest.mark.parametrize(
    "columns",
    [
        "name TEXT UNIQUE, n",
        "name TEXT PRIMARY KEY, n",
        "name TEXT, n, UNIQUE (name, n)",
        "name TEXT UNIQUE NOT NULL, n",
    ],
)
def test_a_second_lead_goes_where_values_must_differ(tmp_path: Path, columns: str) -> None:
    """The first erasure left its mark in a column that allows each value once."""
    file = tmp_path / "store.db"
    leads = [f"lead0000000{number}" for number in range(4)]
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        connection.executemany("INSERT INTO t VALUES (?, 1)", [(lead,) for lead in leads])
        connection.commit()
    for lead in leads[:3]:
        assert erase_from(file, Sought((lead,))) == 1
        assert count_in(file, Sought((lead,))) == 0
        assert lead.encode() not in file.read_bytes()
    with closing(sqlite3.connect(file)) as connection:
        left = {name for (name,) in connection.execute("SELECT name FROM t")}
    assert left == {ERASED, "(erased 2)", "(erased 3)", leads[3]}


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        ("name TEXT CHECK (name LIKE 'lead%'), n", [(None, 1), (OTHER, 1)]),
        ("name TEXT NOT NULL CHECK (name LIKE 'lead%'), n", [(OTHER, 1)]),
    ],
)
def test_where_no_mark_is_allowed_the_value_or_the_row_goes(
    tmp_path: Path, columns: str, left: list[tuple[str | None, int]]
) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        connection.executemany("INSERT INTO t VALUES (?, 1)", [(LEAD,), (OTHER,)])
        connection.commit()
    erase_from(file, SOUGHT)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM t ORDER BY name").fetchall() == left
    assert count_in(file, SOUGHT) == 0


def test_texts_and_packed_values_that_must_differ_are_numbered_too(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute('CREATE TABLE "a ""table""" ("a ""column""" TEXT UNIQUE, packed BLOB UNIQUE)')
        for lead in (LEAD, "lead00000999"):
            packed = zlib.compress(f'["{lead}"]'.encode())
            connection.execute('INSERT INTO "a ""table""" VALUES (?, ?)', (f'{{"about": "{lead}"}}', packed))
        connection.commit()
    for lead in (LEAD, "lead00000999"):
        assert erase_from(file, Sought((lead,))) == 2
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute('SELECT * FROM "a ""table""" ORDER BY 1').fetchall()
    assert [json.loads(text)["about"] for text, _ in rows] == ["(erased 2)", ERASED]
    assert sorted(zlib.decompress(packed) for _, packed in rows) == [b'["(erased 2)"]', b'["(erased)"]']


def test_ids_that_are_whole_numbers_in_a_database_count_in_columns_of_leads(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (lead_id INTEGER, clicks INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1200001, 1), (2, 1200001)])
        connection.commit()
    number = Sought(("1200001",))
    assert (count_in(file, number), erase_from(file, number), count_in(file, number)) == (1, 1, 0)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT clicks FROM t ORDER BY clicks").fetchall() == [(1,), (1200001,)]


def test_free_pages_go_even_where_they_spell_the_id_packed_or_it_is_short(tmp_path: Path) -> None:
    file, packed = tmp_path / "old.db", zlib.compress(f'["{LEAD}"]'.encode()) * 400
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("CREATE TABLE t (a BLOB)")
        connection.execute("INSERT INTO t VALUES (?)", (packed,))
        connection.commit()
        connection.execute("DELETE FROM t")
        connection.commit()
    assert packed[:40] in file.read_bytes()
    assert LEAD.encode() not in file.read_bytes()
    assert clean_free_pages(file, SOUGHT)
    assert packed[:40] not in file.read_bytes()
    assert not clean_free_pages(file, SOUGHT)


def test_notes_and_bytes_of_a_parquet_file_go_too(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    frame = pl.DataFrame({"n": [1, 2], "raw": [f"x {LEAD}".encode(), OTHER.encode()]})
    frame.write_parquet(file, metadata={"note": f"made for {LEAD}"})
    assert count_in(file, SOUGHT) == 2
    assert erase_from(file, SOUGHT) == 2
    assert pl.read_parquet(file)["n"].to_list() == [2]
    assert pl.read_parquet_metadata(file)["note"] == f"made for {ERASED}"
    assert LEAD.encode() not in file.read_bytes().replace(OTHER.encode(), b"")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_packed_table_is_searched_as_the_table_that_it_is(tmp_path: Path, ending: str) -> None:
    content = b"lead_id;n\n12;1\n123;2\n"
    with pa.BufferOutputStream() as sink:
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        zstandard = sink.getvalue().to_pybytes()
    packed = {
        ".gz": gzip.compress(content),
        ".bz2": bz2.compress(content),
        ".xz": lzma.compress(content),
        ".zst": zstandard,
    }
    file = tmp_path / f"leads.csv{ending}"
    file.write_bytes(packed[ending])
    assert count_in(file, Sought(("12",))) == 1
    assert count_in(file, Sought(("1",))) == 1  # a cell of another column
    assert count_in(file, Sought(("23",))) == 0
    file.write_bytes(packed[ending][:12])
    assert count_in(file, Sought(("12",))) == 0  # broken: there is nothing that could be read
    assert not is_rewritable(file)


def test_a_table_keeps_what_separates_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "leads.tsv"
    file.write_text("lead_id\tnote\n12\ta, b\n13\tc, d\n")
    assert erase_from(file, Sought(("12",))) == 1
    assert file.read_text() == "lead_id\tnote\n13\tc, d\n"
