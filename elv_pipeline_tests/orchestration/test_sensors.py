"""Sensors: what they ask for, that they ask once, and that a lost cursor does no harm."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import SourceError
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.monitoring.alert_state import read_state
from elv_pipeline.orchestration.assets.watching import MEASURED, open_alerts
from elv_pipeline.orchestration.code_location import problem_definitions
from elv_pipeline.orchestration.due_days import HELD
from elv_pipeline.orchestration.failed_runs import failed_run_alerts
from elv_pipeline.orchestration.resources import ScoringModel, TrainingOrigin
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


def trained(copy: Copy, origin: str, *, kind: str = "candidate.json") -> None:
    """Only this origin has been trained."""
    folder = copy.deployment.home.models(NAME)
    for known in folder.iterdir():
        known.rename(folder / origin)
    for file in ("candidate.json", "refused.json"):
        (folder / origin / file).unlink(missing_ok=True)
    (folder / origin / kind).write_text("{}")


def asked(copy: Copy) -> dg.RunRequest:
    found = retraining(copy.deployment)
    assert isinstance(found, dg.RunRequest), found
    return found


def test_lasting_drift_asks_for_a_training_as_of_the_end_of_the_watched_day(copy: Copy) -> None:
    """Beside the weekly schedule, which has trained as of Monday already."""
    assert f"{TODAY:%A %F}" == "Saturday 2025-04-26"
    watched(copy)
    trained(copy, "2025-04-21")
    first = asked(copy)
    assert first.partition_key == "2025-04-21"
    assert first.run_config["resources"] == {"training_origin": {"config": {"as_of": "2025-04-26"}}}
    assert first.run_config["ops"][f"{NAME}__run_report"]["config"]["kind"] == "train"
    assert "trained anew as of 2025-04-26" in first.tags["elv/reason"]
    assert asked(copy).run_key == first.run_key  # Dagster starts no second run for it
    (copy.deployment.home.models(NAME) / "2025-04-26").mkdir()
    (copy.deployment.home.models(NAME) / "2025-04-26" / "candidate.json").write_text("{}")
    done = retraining(copy.deployment)
    assert isinstance(done, dg.SkipReason)
    assert "nothing asks for a training by what is known of 2025-04-25" in str(done.skip_message)


@pytest.mark.parametrize("table", ["features", "matured_labels"])
def test_a_day_whose_tables_are_missing_is_not_learned_yet(copy: Copy, table: str) -> None:
    """The watch has its own schedule; a training on a day that failed would fail, too, and not be asked for again."""
    watched(copy)
    trained(copy, "2025-04-21")
    copy.deployment.lake.partition(table, LAST).rename(copy.exports / "set-aside")
    found = retraining(copy.deployment)
    assert isinstance(found, dg.SkipReason)
    assert "its tables are not there yet" in str(found.skip_message)
    (copy.exports / "set-aside").rename(copy.deployment.lake.partition(table, LAST))
    assert isinstance(retraining(copy.deployment), dg.RunRequest)


@pytest.mark.parametrize("kind", ["candidate.json", "refused.json"])
def test_a_young_training_is_not_asked_for_again_even_where_it_was_refused(copy: Copy, kind: str) -> None:
    watched(copy)
    trained(copy, "2025-04-24", kind=kind)
    assert isinstance(retraining(copy.deployment), dg.SkipReason)
    trained(copy, "2025-04-23", kind=kind)
    assert isinstance(retraining(copy.deployment), dg.RunRequest)


def test_what_the_weekly_training_will_learn_is_left_to_it(copy: Copy) -> None:
    weekly = copy.with_changes(
        schedules={**copy.deployment.config.schedules.model_dump(), "origin_weekday": "saturday"}
    )
    watched(weekly)
    trained(weekly, "2025-04-19")
    found = retraining(weekly.deployment)
    assert isinstance(found, dg.SkipReason)
    assert "the weekly training as of 2025-04-26 learns the same" in str(found.skip_message)


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
    trained(copy, "2025-04-21")
    assert isinstance(retraining(copy.deployment), dg.RunRequest) is asks


def test_the_asked_training_has_a_partition_and_a_configuration_that_its_job_takes(copy: Copy) -> None:
    """An origin outside the calendar, or a misspelt key, would make every tick of the sensor an error."""
    watched(copy)
    trained(copy, "2025-04-21")
    request = asked(copy)
    job = definitions(copy).resolve_job_def(f"{NAME}_training")
    assert job.partitions_def is not None
    assert request.partition_key in job.partitions_def.get_partition_keys()
    assert dg.validate_run_config(job, run_config=request.run_config)


def definitions(copy: Copy) -> dg.Definitions:
    resources = {"scoring_model": ScoringModel(), "training_origin": TrainingOrigin()}
    return dg.Definitions.merge(problem_definitions(copy.deployment), dg.Definitions(resources=resources))


def sensor(copy: Copy, noun: str) -> dg.SensorDefinition:
    found = [s for s in problem_definitions(copy.deployment).sensors or () if s.name == f"{NAME}_{noun}_sensor"]
    assert isinstance(found[0], dg.SensorDefinition)
    return found[0]


def tick(copy: Copy, noun: str, instance: dg.DagsterInstance | None = None) -> dg.RunRequest | str:
    """One evaluation, as the daemon makes it, without any cursor."""
    return look(copy, noun, instance=instance)[0]


def look(
    copy: Copy, noun: str, *, cursor: str | None = None, instance: dg.DagsterInstance | None = None
) -> tuple[dg.RunRequest | str, str | None]:
    """One evaluation and the cursor that it leaves."""
    with dg.DagsterInstance.ephemeral() as empty:
        context = dg.build_sensor_context(
            instance=instance or empty, repository_def=definitions(copy).get_repository_def(), cursor=cursor
        )
        data = sensor(copy, noun).evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else str(data.skip_message), data.cursor


def test_retraining_can_be_turned_off(copy: Copy) -> None:
    watched(copy)
    trained(copy, "2025-04-21")
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


def test_an_export_that_is_gone_is_told_once_and_the_held_days_wait(copy: Copy) -> None:
    entry = {"since": "2025-04-26T06:00:00+00:00", "status": "held", "findings": []}
    copy.deployment.lake.write_json(HELD, {str(LAST): entry})
    leads = copy.exports / "leads.csv"
    content = leads.read_bytes()
    leads.unlink()
    said, cursor = look(copy, "held")
    assert "leads.csv" in str(said)
    assert open_alerts(copy.deployment) == []  # it may be about to be replaced
    told = []
    for _ in range(3):
        said, cursor = look(copy, "held", cursor=cursor)
        assert isinstance(said, str)
        told.append(copy.deployment.home.alert_state(NAME).read_bytes())
    assert told[0] == told[1] == told[2]
    [alert] = open_alerts(copy.deployment)
    assert (alert["code"], alert["subject"], alert["severity"]) == ("export_not_found", "leads", "warning")
    assert str(copy.exports) not in json.dumps(alert)
    leads.write_bytes(content)
    said, cursor = look(copy, "held", cursor=cursor)
    assert isinstance(said, dg.RunRequest)
    assert read_state(copy.deployment.home.alert_state(NAME))["open"] == {}  # a fact is settled at once


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
        # The job that asks is running: whether its last failure is over shows at its own end.
        assert failed_run_alerts(instance, NAME, asking=f"{NAME}_daily") == []
        assert tick(copy, "failure", instance) == "1 new failure(s) told"
        assert tick(copy, "failure", instance) == "no new failure"
        assert len(read_state(state)["open"]) == 1
        run_of(works, instance)
        assert failed_run_alerts(instance, NAME) == []
        assert tick(copy, "failure", instance) == "no new failure"
    assert read_state(state)["open"] == {}


@dg.op
def finds_no_database() -> None:
    raise SourceError("postgresql://db.example.org/crm as reader: the database cannot be reached")


def test_a_failure_of_our_own_says_its_kind_and_quotes_nothing(copy: Copy) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_of(finds_no_database, instance)
        [alert] = failed_run_alerts(instance, NAME)
    assert "failed in finds_no_database: a database cannot be reached, or refused. Nothing" in alert.message
    assert alert.cause == "A database cannot be reached, or refused."
    assert "example.org" not in json.dumps(documents([alert]))


def test_failures_of_other_configurations_are_not_ours(copy: Copy) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_of(breaks, instance)
        assert failed_run_alerts(instance, "other") == []


def test_sensors_are_off_until_somebody_turns_them_on(copy: Copy) -> None:
    found = problem_definitions(copy.deployment).sensors or ()
    assert {s.name for s in found} == {f"{NAME}_{noun}_sensor" for noun in ("retrain", "held", "failure")}
    assert all(getattr(s, "default_status", None) == dg.DefaultSensorStatus.STOPPED for s in found)
