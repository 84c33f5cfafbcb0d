"""Nobody's first score reaches a production database unasked, and no test score reaches it at all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.publishing.scores.targets import (
    AUTOMATIC,
    TargetRefusedError,
    approvals,
    approve_target,
    is_embedded,
    place_of,
    refuse_foreign_target,
    require_approved,
)
from elv_pipeline.settings_operation import Environment

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
TARGET = "postgresql://db.example:5432/crm as elv_writer"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def approve(home: Home, target: str = TARGET) -> None:
    approve_target(home, target, environment="prod", who="Ada", reason="reviewed with sales", now=NOW)


def test_prod_waits_for_a_person(home: Home) -> None:
    with pytest.raises(TargetRefusedError, match="elv approve-target") as error:
        require_approved(home, TARGET, environment="prod", now=NOW)
    assert error.value.exit_code == 7
    assert approvals(home) == []
    approve(home)
    given = require_approved(home, TARGET, environment="prod", now=NOW)
    assert given is not None
    assert (given.who, given.reason, given.at) == ("Ada", "reviewed with sales", "2026-11-21T06:00:00+00:00")
    assert len(approvals(home)) == 1


def test_an_approval_is_of_one_place_whoever_logs_in(home: Home) -> None:
    approve(home)
    assert require_approved(home, TARGET.replace("elv_writer", "other"), environment="prod", now=NOW)
    for other in ("postgresql://db.example:5432/crm2 as elv_writer", "postgresql://db2.example:5432/crm as elv_writer"):
        with pytest.raises(TargetRefusedError):
            require_approved(home, other, environment="prod", now=NOW)


@pytest.mark.parametrize("environment", ["dev", "test"])
def test_elsewhere_the_first_write_is_noted_and_counts_for_nothing_in_prod(home: Home, environment: str) -> None:
    for _ in range(3):
        given = require_approved(home, TARGET, environment=environment, now=NOW)  # type: ignore[arg-type]
        assert given is not None
        assert given.who == AUTOMATIC
    assert len(approvals(home)) == 1
    with pytest.raises(TargetRefusedError):
        require_approved(home, TARGET, environment="prod", now=NOW)


def test_the_file_of_the_home_needs_no_approval(home: Home) -> None:
    assert is_embedded(home.scores_url, home)
    assert require_approved(home, home.scores_url, environment="prod", now=NOW) is None
    assert not (home.root / "targets.jsonl").exists()
    with pytest.raises(TargetRefusedError):
        require_approved(home, "sqlite:////elsewhere/scores.db", environment="prod", now=NOW)


@pytest.mark.parametrize(
    ("who", "reason"), [("", "a reason"), (" ", "a reason"), (AUTOMATIC, "a reason"), ("Ada", "ok")]
)
def test_an_approval_needs_a_person_and_a_reason(home: Home, who: str, reason: str) -> None:
    with pytest.raises(ConfigError):
        approve_target(home, TARGET, environment="prod", who=who, reason=reason, now=NOW)
    assert approvals(home) == []


@pytest.mark.parametrize(
    "target",
    [
        "postgresql://ada:hunter2@db/crm",
        "mssql://db/crm?PWD=hunter2",
        "Server=db;Password = hunter2",
        "pg://a:x/y@db/c",
    ],
)
def test_no_password_is_ever_recorded_or_repeated(home: Home, target: str) -> None:
    with pytest.raises(ConfigError) as error:
        approve(home, target)
    assert "hunter2" not in str(error.value)
    assert not (home.root / "targets.jsonl").exists()


def test_a_line_that_was_cut_short_approves_nothing_and_harms_no_later_one(home: Home) -> None:
    approve(home)
    record = home.root / "targets.jsonl"
    record.write_bytes(record.read_bytes()[:-20])
    with pytest.raises(TargetRefusedError):
        require_approved(home, TARGET, environment="prod", now=NOW)
    approve(home)
    assert len(approvals(home)) == 1


def test_earlier_lines_are_never_rewritten(home: Home) -> None:
    approve(home)
    before = (home.root / "targets.jsonl").read_bytes()
    approve(home, "mssql://other:1433/crm as writer")
    assert (home.root / "targets.jsonl").read_bytes().startswith(before)


def test_approvals_given_at_once_are_all_kept(home: Home) -> None:
    threads = [threading.Thread(target=approve, args=(home, f"postgresql://db/{n}")) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {given.target for given in approvals(home)} == {f"postgresql://db/{n}" for n in range(20)}


@pytest.mark.parametrize("environment", ["dev", "test"])
def test_test_scores_stay_out_of_prod(environment: str) -> None:
    with pytest.raises(TargetRefusedError, match=f"environment: {environment}"):
        refuse_foreign_target(TARGET, environment=environment, written="prod")  # type: ignore[arg-type]
    refuse_foreign_target(TARGET, environment=environment, written=environment)  # type: ignore[arg-type]
    refuse_foreign_target(TARGET, environment=environment, written=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["prod", None])
def test_prod_may_write_where_it_was_approved(written: str | None) -> None:
    refused = []
    for environment in ("dev", "test", "prod"):
        try:
            refuse_foreign_target(TARGET, environment=environment, written=written)  # type: ignore[arg-type]
        except TargetRefusedError:
            refused.append(environment)
    assert refused == ([] if written is None else ["dev", "test"])


@pytest.mark.parametrize(("environment", "written"), [("prod", "dev"), ("test", "dev"), ("dev", "prod")])
def test_a_database_belongs_to_one_environment(environment: Environment, written: str) -> None:
    with pytest.raises(TargetRefusedError, match=rf"is {written}, .* environment: {environment}.*its owner says so"):
        refuse_foreign_target(TARGET, environment=environment, written=written)


def test_a_place_is_named_without_login() -> None:
    assert place_of(TARGET) == "postgresql://db.example:5432/crm"
