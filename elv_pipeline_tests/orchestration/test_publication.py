"""What must hold before scores leave: asked for, inside the rollout, approved, and of the right environment."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elv_pipeline.databases.connections import open_engine
from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.publication import approve, migrate_scores, scores_connection
from elv_pipeline.publishing.scores.target_row import target_environment
from elv_pipeline.publishing.scores.targets import TargetRefusedError, approvals
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Copy

pytestmark = BETA
DAY = DayRange(LAST, LAST)
OTHER = {"databases": {"scores": {"url_variable": "ELV_SCORES_URL"}}}


def publish(copy: Copy, *, persist: bool = True) -> dg.ExecuteInProcessResult:
    config = {"ops": {f"{NAME}__lead_scores": {"config": {"persist": persist}}}}
    return copy.run("lead_scores", days=DAY, config=config)


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node(f"{NAME}__lead_scores")
    return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of scores outside the home."""
    file = tmp_path / "crm" / "scores.db"
    file.parent.mkdir()
    monkeypatch.setenv("ELV_SCORES_URL", f"sqlite:///{file}")
    return file


def rows(file: Path) -> int:
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "lead_scores" not in names:
            return 0
        return int(connection.execute("SELECT count(*) FROM lead_scores").fetchone()[0])


def leads(copy: Copy) -> int:
    return copy.deployment.lake.row_counts("predictions", DAY.days)[LAST]


def empty_scores(copy: Copy) -> Path:
    """The home's own table of scores, without the shared runs."""
    file = copy.deployment.home.root / "scores.db"
    file.unlink()
    return file


def test_a_run_that_is_asked_not_to_persist_writes_nothing(copy: Copy) -> None:
    file = empty_scores(copy)
    assert told(publish(copy, persist=False))["withheld"] == "The run was asked not to write scores."
    assert rows(file) == 0
    written = copy.deployment.lake.read_json("written")
    assert (written["withheld"], "inserted" in written) == ("The run was asked not to write scores.", False)
    publish(copy)
    assert rows(file) == leads(copy)
    assert copy.deployment.lake.read_json("written")["inserted"] == leads(copy)


def test_an_organisation_outside_the_rollout_is_scored_and_not_published(copy: Copy) -> None:
    file = empty_scores(copy)
    result = publish(copy.with_changes(rollout={"share": 0.0}))
    assert "not yet inside the 0% of the organisations whose scores are written" in told(result)["withheld"]
    assert rows(file) == 0
    publish(copy.with_changes(rollout={"share": 1.0}))
    assert rows(file) == leads(copy)


def test_the_first_write_in_prod_needs_a_persons_approval(copy: Copy, other_file: Path) -> None:
    prod = copy.with_changes(environment="prod", **OTHER)
    with pytest.raises(TargetRefusedError, match="the first write needs a person's approval") as refusal:
        publish(prod)
    assert "elv approve-target" in str(refusal.value)
    assert rows(other_file) == 0
    assert approvals(copy.deployment.home) == []
    approve(prod.deployment, who="ana", reason="cutover of the first account")
    assert told(publish(prod))["inserted"] == leads(copy)
    assert rows(other_file) == leads(copy)
    engine = open_engine(scores_connection(prod.deployment.config, prod.deployment.home), purpose="test")
    try:
        assert target_environment(engine) == "prod"
    finally:
        engine.dispose()


def test_test_scores_never_reach_the_database_that_people_act_on(copy: Copy, other_file: Path) -> None:
    prod = copy.with_changes(environment="prod", **OTHER)
    approve(prod.deployment, who="ana", reason="cutover of the first account")
    publish(prod)
    before = other_file.read_bytes()
    with pytest.raises(TargetRefusedError, match="this database is prod, but the configuration says environment: dev"):
        publish(copy.with_changes(environment="dev", **OTHER))
    assert other_file.read_bytes() == before


@pytest.mark.parametrize("environment", ["dev", "test"])
def test_elsewhere_the_first_use_is_noted_by_itself(copy: Copy, other_file: Path, environment: str) -> None:
    publish(copy.with_changes(environment=environment, **OTHER))
    assert rows(other_file) == leads(copy)
    [noted] = approvals(copy.deployment.home)
    assert (noted.environment, noted.who) == (environment, "(automatic)")


def test_a_write_elsewhere_is_in_the_access_log_without_a_value(copy: Copy, other_file: Path) -> None:
    publish(copy.with_changes(**OTHER))
    [line] = copy.deployment.home.access_log.read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert (entry["purpose"], entry["outcome"], entry["rows"]) == ("write scores", "written", leads(copy))
    lead = copy.deployment.scan("predictions", first=LAST, last=LAST).collect()["lead_id"][0]
    assert lead not in line


def test_a_refused_write_is_in_the_access_log_too(copy: Copy, other_file: Path) -> None:
    with pytest.raises(TargetRefusedError):
        publish(copy.with_changes(environment="prod", **OTHER))
    entry = json.loads(copy.deployment.home.access_log.read_text(encoding="utf-8"))
    assert entry["outcome"] == "failed: TargetRefusedError"


def test_the_file_of_the_home_needs_no_approval(copy: Copy) -> None:
    with pytest.raises(ElvError, match="needs no approval"):
        approve(copy.deployment, who="ana", reason="because it is there")


def test_scores_name_a_model_path_that_survives_a_move_of_the_home(copy: Copy) -> None:
    publish(copy)
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        paths = {path for (path,) in connection.execute("SELECT model_path FROM lead_scores")}
    assert all(not Path(path).is_absolute() and (copy.deployment.home.root / path).is_file() for path in paths)
    assert len(paths) == 1


def test_the_moment_of_a_rehearsal_is_the_moment_of_the_ledger(copy: Copy) -> None:
    empty_scores(copy)
    moment = datetime(2025, 4, 26, 6, tzinfo=UTC)
    copy.run("lead_scores", days=DAY, config={"ops": {f"{NAME}__lead_scores": {"config": {"now": moment.isoformat()}}}})
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        connection.row_factory = sqlite3.Row
        [entry] = connection.execute("SELECT * FROM score_runs").fetchall()
    assert "2025-04-26 06:00:00" in {str(value)[:19].replace("T", " ") for value in tuple(entry)}


def test_the_owner_makes_the_tables_and_writes_no_score(
    copy: Copy, other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, home = copy.with_changes(**OTHER).deployment.config, copy.deployment.home
    monkeypatch.setenv("ELV_SCORES_OWNER_URL", f"sqlite:///{other_file}")
    monkeypatch.setenv("ELV_SCORES_URL", "sqlite:////nowhere/at/all.db")  # the writer's own address is not used
    place, done = migrate_scores(config, home, url_variable="ELV_SCORES_OWNER_URL")
    assert place == f"sqlite:///{other_file}"
    assert done[0].startswith("001_")
    assert migrate_scores(config, home, url_variable="ELV_SCORES_OWNER_URL") == (place, [])
    with closing(sqlite3.connect(other_file)) as connection:
        assert connection.execute("SELECT count(*) FROM lead_scores").fetchone() == (0,)
    monkeypatch.delenv("ELV_SCORES_OWNER_URL")
    with pytest.raises(ConfigError, match="scores owner: the environment variable ELV_SCORES_OWNER_URL is not set"):
        migrate_scores(config, home, url_variable="ELV_SCORES_OWNER_URL")
