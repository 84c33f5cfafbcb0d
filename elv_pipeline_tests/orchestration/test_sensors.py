"""Sensors: what they ask for, that they ask once, and that a lost cursor does no harm."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.monitoring.alert_state import read_state
from elv_pipeline.orchestration.assets.watching import MEASURED
from elv_pipeline.orchestration.code_location import problem_definitions
from elv_pipeline.orchestration.due_days import HELD
from elv_pipeline.orchestration.failed_runs import failed_run_alerts
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.orchestration.sensors import retraining
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Copy

pytestmark = BETA
TODAY = LAST + timedelta(days=1)


def watched(copy: Copy, *, drifted: bool = True, version: str = "1", verdict: str = "holds") -> None:
    """The newest watch, and drift on the three days before it."""
    document = {"as_of": str(LAST), "model_version": version, "reconciled": {"verdict": verdict}, "alerts": []}
    copy.deployment.lake.write_json(MEASURED, document)
    days = [LAST - timedelta(days=n) for n in range(3)]
    rows = copy.deployment.scan("drift", first=days[-1], last=LAST).collect().filter(pl.col("kind") == "score")
    assert rows.height == 3
    copy.deployment.lake.write_days("drift", rows.with_columns(drifted=pl.lit(drifted)), days=sorted(days))


def settle_origins(copy: Copy) -> None:
    """Only an older origin has been trained."""
    folder = copy.deployment.home.models(NAME)
    for trained in folder.iterdir():
        trained.rename(folder / "2025-01-13")


def test_lasting_drift_asks_for_a_training_once_an_origin(copy: Copy) -> None:
    watched(copy)
    settle_origins(copy)
    first = retraining(copy.deployment, today=TODAY)
    assert isinstance(first, dg.RunRequest)
    assert first.partition_key == "2025-04-21"
    assert "drifted on 3 days in a row" in first.tags["elv/reason"]
    again = retraining(copy.deployment, today=TODAY)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == first.run_key  # Dagster starts no second run for it
    folder = copy.deployment.home.models(NAME) / "2025-04-21"
    folder.mkdir()
    (folder / "candidate.json").write_text("{}")
    done = retraining(copy.deployment, today=TODAY)
    assert isinstance(done, dg.SkipReason)
    assert "nothing asks for a training as of 2025-04-21" in str(done.skip_message)


@pytest.mark.parametrize(
    ("state", "asks"),
    [
        ({"drifted": False}, False),
        ({"drifted": False, "verdict": "too optimistic"}, True),
        ({"drifted": True, "version": "7"}, False),  # another champion's drift
    ],
)
def test_a_training_is_asked_for_only_where_something_asks(copy: Copy, state: dict[str, Any], asks: bool) -> None:
    watched(copy, **state)
    settle_origins(copy)
    assert isinstance(retraining(copy.deployment, today=TODAY), dg.RunRequest) is asks


def test_the_asked_training_has_a_partition(copy: Copy) -> None:
    """An origin outside the calendar would make every tick of the sensor an error."""
    watched(copy)
    settle_origins(copy)
    request = retraining(copy.deployment, today=TODAY + timedelta(days=300))
    assert isinstance(request, dg.RunRequest)
    job = definitions(copy).resolve_job_def(f"{NAME}_training")
    assert job.partitions_def is not None
    assert request.partition_key in job.partitions_def.get_partition_keys()


def definitions(copy: Copy) -> dg.Definitions:
    return dg.Definitions.merge(
        problem_definitions(copy.deployment), dg.Definitions(resources={"scoring_model": ScoringModel()})
    )


def sensor(copy: Copy, noun: str) -> dg.SensorDefinition:
    found = [s for s in problem_definitions(copy.deployment).sensors or () if s.name == f"{NAME}_{noun}_sensor"]
    assert isinstance(found[0], dg.SensorDefinition)
    return found[0]


def tick(copy: Copy, noun: str, instance: dg.DagsterInstance | None = None) -> dg.RunRequest | str:
    """One evaluation, as the daemon makes it, without any cursor."""
    with dg.DagsterInstance.ephemeral() as empty:
        context = dg.build_sensor_context(
            instance=instance or empty, repository_def=definitions(copy).get_repository_def()
        )
        data = sensor(copy, noun).evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else str(data.skip_message)


def test_retraining_can_be_turned_off(copy: Copy) -> None:
    watched(copy)
    settle_origins(copy)
    assert tick(copy.with_changes(monitoring={"retrain_on_drift": False}), "retrain") == (
        "monitoring.retrain_on_drift is off"
    )


def test_held_days_are_looked_at_again_only_when_an_export_has_changed(copy: Copy) -> None:
    assert tick(copy, "held") == "no day is held"
    days = (LAST - timedelta(days=1), LAST)
    entry = {"since": "2025-04-26T06:00:00+00:00", "status": "held", "findings": []}
    copy.deployment.lake.write_json(HELD, {str(day): entry for day in days})
    first, second = tick(copy, "held"), tick(copy, "held")
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.run_key == second.run_key
    assert first.tags["dagster/asset_partition_range_start"] == str(days[0])
    assert first.tags["dagster/asset_partition_range_end"] == str(days[1])
    leads = copy.exports / "leads.csv"
    leads.write_text(leads.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    third = tick(copy, "held")
    assert isinstance(third, dg.RunRequest)
    assert third.run_key != first.run_key
    copy.deployment.lake.write_json(HELD, {str(LAST): entry})
    alone = tick(copy, "held")
    assert isinstance(alone, dg.RunRequest)
    assert alone.partition_key == str(LAST)


@dg.op
def breaks() -> None:
    raise RuntimeError("the disk is full")


@dg.op
def works() -> None:
    return


def run_of(op: Any, instance: dg.DagsterInstance) -> None:
    job = dg.JobDefinition(
        name=f"{NAME}_daily", graph_def=dg.GraphDefinition("work", node_defs=[op]), tags={"configuration": NAME}
    )
    job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_failed_run_is_told_once_until_the_job_runs_well(copy: Copy) -> None:
    state = copy.deployment.home.alert_state(NAME)
    with dg.DagsterInstance.ephemeral() as instance:
        assert tick(copy, "failure", instance) == "no new failure"
        run_of(breaks, instance)
        [alert] = failed_run_alerts(instance, NAME)
        assert (alert.code, alert.severity, alert.subject) == ("run_failed", "critical", f"{NAME}_daily")
        assert "disk" not in alert.message  # the error may quote the input
        assert tick(copy, "failure", instance) == "1 new failure(s) told"
        assert tick(copy, "failure", instance) == "no new failure"
        assert len(read_state(state)["open"]) == 1
        run_of(works, instance)
        assert failed_run_alerts(instance, NAME) == []
        assert tick(copy, "failure", instance) == "no new failure"
    assert read_state(state)["open"] == {}


def test_failures_of_other_configurations_are_not_ours(copy: Copy) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_of(breaks, instance)
        assert failed_run_alerts(instance, "other") == []


def test_sensors_are_off_until_somebody_turns_them_on(copy: Copy) -> None:
    found = problem_definitions(copy.deployment).sensors or ()
    assert {s.name for s in found} == {f"{NAME}_{noun}_sensor" for noun in ("retrain", "held", "failure")}
    assert all(getattr(s, "default_status", None) == dg.DefaultSensorStatus.STOPPED for s in found)
