"""Passwords and tokens of the environment appear nowhere: not in answers, errors, logs, run records or any file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from elv_pipeline_tests.command_line import Answer, elv
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, write

SECRET = "hunter2-PLANTED-SECRET"
WITH_DRIVER = pytest.mark.skipif(
    find_spec("psycopg") is None, reason="the driver of PostgreSQL is an extra: make setup-extras"
)
KEY = f"{SECRET}-as-a-key-of-many-bytes"
CONFIGURATION = """
name: planted
paths: {leads_path: leads.csv, ads_path: ads.csv, outcomes_path: outcomes.csv}
start_date: 2025-01-01
environment: prod
databases:
  source: {url_variable: ELV_SOURCE_URL, login_timeout_seconds: 1, attempts: 1}
  scores: {url_variable: ELV_SCORES_URL, login_timeout_seconds: 1, attempts: 1}
privacy: {hashed_columns: [lead_id], key_variable: ELV_HASH_KEY}
alerts: {channels: [{kind: webhook, url_variable: ELV_WEBHOOK_URL}]}
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose databases cannot be reached, with a secret in every variable."""
    for name in ("ELV_SOURCE_URL", "ELV_SCORES_URL"):
        monkeypatch.setenv(name, f"postgresql://ada:{SECRET}@127.0.0.1:1/crm")
    monkeypatch.setenv("ELV_WEBHOOK_URL", f"http://127.0.0.1:1/services/{SECRET}")
    monkeypatch.setenv("ELV_HASH_KEY", KEY)
    for name, text in (("ads.csv", ADS), ("leads.csv", LEADS), ("outcomes.csv", OUTCOMES)):
        write(tmp_path, name, text)
    return write(tmp_path, "config.yaml", CONFIGURATION)


def holding(folder: Path) -> list[str]:
    return [
        str(file.relative_to(folder))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and SECRET.encode() in file.read_bytes()
    ]


def clean(answer: Answer, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert SECRET not in answer.out
    assert SECRET not in answer.err
    assert SECRET not in caplog.text
    assert holding(home) == []


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("validate",), 0, "planted: not ready"),
        (("train",), 4, "refused"),
        (("run-daily",), 5, "no champion"),
        pytest.param(
            ("approve-target", "--reason", "for this test", "--who", "Ada"),
            0,
            "postgresql://127.0.0.1:1/crm",
            marks=WITH_DRIVER,
        ),
        (("purge", "--dry-run"), 0, "Nothing to remove"),
        pytest.param(("forget", "--id", "L1"), 8, "127.0.0.1:1", marks=WITH_DRIVER),
    ],
    ids=lambda command: command[0] if isinstance(command, tuple) else "",
)
def test_no_command_gives_a_secret_away(
    planted: Path,
    tmp_path: Path,
    command: tuple[str, ...],
    code: int,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    home = tmp_path / "home"
    answer = elv(command[0], "--config", planted, *command[1:], home=home)
    assert answer.code == code, answer
    assert told in answer.out + answer.err
    clean(answer, home, caplog)


def test_a_missing_key_is_named_by_its_variable(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", SECRET)  # too short
    answer = elv("validate", "--config", planted, home=tmp_path / "home")
    assert answer.code == 2
    assert "ELV_HASH_KEY" in answer.err
    clean(answer, tmp_path / "home", caplog)
