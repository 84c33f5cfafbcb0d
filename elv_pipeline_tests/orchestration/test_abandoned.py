"""A killed command must not hold up the queue; two runs must not write one home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.abandoned import PROCESS_TAG, close_abandoned_runs, is_gone, this_process
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.instance import opened_instance, run_job
from elv_pipeline_tests.orchestration.conftest import BETA

pytestmark = BETA
IDENTITY = "from elv_pipeline.orchestration.abandoned import this_process; print(this_process())"


def started(instance: dg.DagsterInstance, *, tags: dict[str, str]) -> str:
    run = create_run_for_test(instance, job_name="some_job", status=dg.DagsterRunStatus.STARTED, tags=tags)
    return run.run_id


def identity_of_a_dead_process() -> str:
    return subprocess.run([sys.executable, "-c", IDENTITY], capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_is_gone_when_it_ended_or_its_id_was_reused() -> None:
    alive = this_process()
    host, process, _ = alive.split(":")
    assert not is_gone(alive)
    assert is_gone(f"{host}:{process}:1")
    assert is_gone(identity_of_a_dead_process())
    assert not is_gone(f"another-{host}:{process}:1")


def test_only_runs_of_dead_commands_are_closed() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dead = started(instance, tags={PROCESS_TAG: identity_of_a_dead_process()})
        alive = started(instance, tags={PROCESS_TAG: this_process()})
        launched_by_the_daemon = started(instance, tags={})
        assert close_abandoned_runs(instance) == [dead]
        statuses = {run.run_id: run.status for run in instance.get_runs()}
        assert statuses[dead] == dg.DagsterRunStatus.FAILURE
        assert {statuses[alive], statuses[launched_by_the_daemon]} == {dg.DagsterRunStatus.STARTED}
        assert close_abandoned_runs(instance) == []


def test_a_command_killed_before_its_run_began_is_closed_too() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {PROCESS_TAG: identity_of_a_dead_process()}
        run = create_run_for_test(instance, job_name="some_job", status=dg.DagsterRunStatus.NOT_STARTED, tags=tags)
        assert close_abandoned_runs(instance) == [run.run_id]


def test_opening_a_home_closes_what_a_killed_command_left(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with opened_instance(home) as instance:
        dead = started(instance, tags={PROCESS_TAG: identity_of_a_dead_process()})
    with opened_instance(home) as instance:
        run = instance.get_run_by_id(dead)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_command_refuses_while_another_run_writes_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with opened_instance(home) as instance:
        other = started(instance, tags={})
        with pytest.raises(ElvError, match=rf"run {other} of some_job is in progress .*'elv ui'"):
            run_job(build_defs(home=home), "tiny_history", instance=instance)


def test_the_daemon_looks_for_abandoned_runs_by_itself(tmp_path: Path) -> None:
    sensor = build_defs(home=Home(tmp_path / "home")).get_repository_def().get_sensor_def("abandoned_runs")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance:
        dead = started(instance, tags={PROCESS_TAG: identity_of_a_dead_process()})
        result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
        assert dead in str(result.skip_message)
