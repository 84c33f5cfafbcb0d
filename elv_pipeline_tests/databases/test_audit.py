from __future__ import annotations

import getpass
import json
import multiprocessing
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.databases.audit import Access, AccessLog

AT = datetime(2025, 3, 1, 6, tzinfo=UTC)
DIGEST = "ab" * 32
WHERE = "postgresql://db.example.org:5432/crm as reader"


def access(**changes: Any) -> Access:
    given: dict[str, Any] = {"at": AT, "where": WHERE, "purpose": "extract leads", "outcome": "read"}
    return Access(**{**given, **changes})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def test_a_line_says_who_where_what_and_how_it_ended(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    since = AT.astimezone(timezone(timedelta(hours=2)))
    log.record(access(statement=DIGEST, since=since, until=AT, rows=12, seconds=1.23456))
    log.record(access(outcome="failed: SourceError"))
    first, second = lines(log.path)
    assert first.pop("user").startswith(getpass.getuser() + "@")
    assert first == {
        "at": "2025-03-01T06:00:00.000+00:00",
        "where": WHERE,
        "purpose": "extract leads",
        "statement_sha256": DIGEST,
        "since": "2025-03-01T06:00:00.000+00:00",
        "until": "2025-03-01T06:00:00.000+00:00",
        "rows": 12,
        "seconds": 1.235,
        "outcome": "read",
    }
    assert (second["outcome"], second["rows"]) == ("failed: SourceError", None)


def test_a_login_may_hold_an_at_sign_and_a_user_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    log = AccessLog(tmp_path / "access.jsonl")
    log.record(access(where="mssql://db:1433/crm as reader@server"))
    (line,) = lines(log.path)
    assert line["where"].endswith("as reader@server")
    assert line["user"].startswith("uid-")


def test_only_the_owner_may_read_the_log(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    AccessLog(path).record(access())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    AccessLog(path).record(access())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(lines(path)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "Key (mail)=(anna@example.org) already exists"},
        {"purpose": "x" * 121},
        {"purpose": "two\nlines"},
        {"statement": "SELECT * FROM leads WHERE mail = 'anna'"},
        {"where": "postgresql://reader:hunter2@db/crm"},
        {"where": "mssql://?odbc_connect=Server=db;PWD=hunter2"},
        {"since": datetime(2025, 3, 1)},  # noqa: DTZ001  # without a zone on purpose
    ],
)
def test_what_could_hold_a_value_or_a_secret_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="access log") as raised:
        access(**changes)
    assert "anna" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    path.write_text('{"at": "2025', encoding="utf-8")
    AccessLog(path).record(access(rows=5))
    torn, whole = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"at": "2025'
    assert json.loads(whole)["rows"] == 5


def write_many(path: Path, writer: int, start: Any) -> None:
    start.wait()
    for number in range(100):
        AccessLog(path).record(access(rows=writer * 1000 + number, where=WHERE + "x" * 3000))


def test_four_processes_at_once_lose_and_mix_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    path = tmp_path / "access.jsonl"
    writers = [context.Process(target=write_many, args=(path, writer, start)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    found = [line["rows"] for line in lines(path)]
    assert sorted(found) == [writer * 1000 + number for writer in range(4) for number in range(100)]
    for writer in range(4):
        own = [row for row in found if row // 1000 == writer]
        assert own == sorted(own)
