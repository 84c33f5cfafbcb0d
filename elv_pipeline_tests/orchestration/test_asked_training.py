"""A training between two weekly origins: what it learns, what it must not see, and that the week's own stays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.orchestration.commands import Session
from elv_pipeline.orchestration.partitions import PARTITION_TAG
from elv_pipeline.orchestration.resources import TrainingOrigin
from elv_pipeline.publishing.registry.model_handle import ModelHandle, read_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, NAME, Copy, Finished

pytestmark = [BETA, pytest.mark.slow]
DAYS_LATER = 3


@dataclass(frozen=True)
class Weeks:
    """A week of the shared calendar, and a day inside it."""

    week: date
    as_of: date

    @property
    def moment(self) -> datetime:
        return datetime.combine(self.as_of, time(), tzinfo=UTC)


@pytest.fixture
def weeks(finished: Finished) -> Weeks:
    week = finished.origin - timedelta(days=14)
    return Weeks(week, week + timedelta(days=DAYS_LATER))


def table_of(copy: Copy, origin: date) -> pl.DataFrame:
    found = copy.deployment.lake.read_frame(f"training_table/{origin}")
    assert found is not None
    return found


def handle_of(copy: Copy, origin: date) -> ModelHandle:
    return read_handle(copy.deployment.home.models(NAME) / str(origin) / "candidate.json")


def metadata_of(result: dg.ExecuteInProcessResult, noun: str) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node(f"{NAME}__{noun}")
    return {name: value.value for name, value in event.metadata.items()}


def test_what_was_recorded_since_the_weeks_origin_is_learned(copy: Copy, weeks: Weeks) -> None:
    copy.run("training_table", origin=weeks.week)
    copy.run("training_table", origin=weeks.week, as_of=weeks.as_of)
    weekly, asked = table_of(copy, weeks.week), table_of(copy, weeks.as_of)
    assert asked["day"].max() == weeks.as_of - timedelta(days=1)
    assert weekly["day"].max() == weeks.week - timedelta(days=1)
    assert asked["y"].count() > weekly["y"].count()  # windows that closed since
    known = asked.join(weekly.select("lead_id", before="label_status"), on="lead_id")
    since = known.filter((pl.col("label_status") == "positive") & (pl.col("before") != "positive"))
    assert since.height > 0
    recorded = since["outcome_recorded_time"]
    assert recorded.min() >= datetime.combine(weeks.week, time(), tzinfo=UTC)  # type: ignore[operator]


def test_nothing_that_was_recorded_at_or_after_the_moment_is_seen(copy: Copy, weeks: Weeks) -> None:
    """Planted: outcomes, withdrawals and values at the moment itself and later, for leads that the table holds."""
    copy.run("training_table", origin=weeks.week, as_of=weeks.as_of)
    before = table_of(copy, weeks.as_of)
    lake, days = copy.deployment.lake, [FIRST + timedelta(days=n) for n in range((weeks.as_of - FIRST).days)]
    rows = copy.deployment.scan("matured_labels", first=days[0], last=days[-1]).collect()
    without = pl.col("outcome_recorded_time").is_null()
    standing = pl.col("outcome_recorded_time") < weeks.moment
    late = pl.when(pl.col("lead_id").hash(1) % 2 == 0).then(weeks.moment).otherwise(weeks.moment + timedelta(days=2))
    late = late.cast(pl.Datetime("us", "UTC"))
    planted = rows.with_columns(
        outcome_time=pl.when(without).then(pl.col("created_time") + timedelta(hours=1)).otherwise("outcome_time"),
        outcome_recorded_time=pl.when(without).then(late).otherwise("outcome_recorded_time"),
        outcome_withdrawn_time=pl.when(standing).then(late).otherwise("outcome_withdrawn_time"),
        outcome_value_micros=pl.when(without).then(999).otherwise("outcome_value_micros"),
    )
    assert rows.filter(without).height > 100
    assert rows.filter(standing).height > 50
    lake.write_days("matured_labels", planted, days=days)
    copy.run("training_table", origin=weeks.week, as_of=weeks.as_of)
    assert table_of(copy, weeks.as_of).equals(before)
    # The same facts are seen from the next moment on: the test would notice a table that ignores them all.
    copy.run("training_table", origin=weeks.week, as_of=weeks.as_of + timedelta(days=1))
    assert not table_of(copy, weeks.as_of + timedelta(days=1)).filter(pl.col("day") < weeks.as_of).equals(before)


def test_the_candidate_its_gates_and_the_decision_are_about_that_day(copy: Copy, weeks: Weeks) -> None:
    copy.run("training_table", "candidate_model", origin=weeks.week)
    weekly, files = handle_of(copy, weeks.week), copy.files("training_table")
    trained = copy.run("training_table", "candidate_model", origin=weeks.week, as_of=weeks.as_of)
    asked = handle_of(copy, weeks.as_of)
    assert datetime.fromisoformat(asked.origin) == weeks.moment
    assert asked.sha256 != weekly.sha256
    assert asked.evidence().context["origin"] == str(weeks.as_of)
    assert metadata_of(trained, "candidate_model")["origin"] == str(weeks.as_of)
    copy.run("model_validation", origin=weeks.week, as_of=weeks.as_of)
    document = copy.deployment.lake.read_json(f"model_validation/{weeks.as_of}")
    assert document["candidate_sha256"] == asked.sha256
    entry = metadata_of(copy.run("champion", tags={PARTITION_TAG: str(weeks.week)}, as_of=weeks.as_of), "champion")
    assert (entry["candidate_version"], entry["candidate_origin"]) == (asked.version, str(weeks.as_of))
    # The week's own table and candidate are what they were.
    assert handle_of(copy, weeks.week) == weekly
    assert {name: content for name, content in copy.files("training_table").items() if name in files} == files


def test_the_same_request_again_is_the_same_version(copy: Copy, weeks: Weeks) -> None:
    for _ in range(2):
        copy.run("training_table", "candidate_model", origin=weeks.week, as_of=weeks.as_of)
    known = [handle for handle, _ in ModelRegistry(copy.deployment.home).versions(NAME)]
    assert [handle.sha256 for handle in known].count(handle_of(copy, weeks.as_of).sha256) == 1


def test_a_newer_asked_candidate_outranks_the_weeks_and_the_week_never_replaces_it(copy: Copy, weeks: Weeks) -> None:
    registry = ModelRegistry(copy.deployment.home)
    copy.run("training_table", "candidate_model", "model_validation", origin=weeks.week, as_of=weeks.as_of)
    registry.set_champion(handle_of(copy, weeks.as_of))
    copy.run("training_table", "candidate_model", "model_validation", origin=weeks.week)
    entry = metadata_of(copy.run("champion", tags={PARTITION_TAG: str(weeks.week)}), "champion")
    assert entry["decision"] == "kept"
    assert f"origin {weeks.week} is older than the champion's {weeks.as_of}" in entry["reason"]


def test_backtests_judge_the_weekly_models_alone(copy: Copy, weeks: Weeks) -> None:
    """Else the same weeks would be judged differently in a home in which a training was asked for."""

    def judged() -> dict[str, Any]:
        config = {"last": str(weeks.week), "horizon_days": 14}
        result = copy.run("backtest", config={"ops": {f"{NAME}__backtest": {"config": config}}})
        text = (copy.deployment.home.runs / result.run_id / "backtest.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    copy.run("training_table", "candidate_model", origin=weeks.week)
    alone = judged()
    earlier = weeks.week - timedelta(days=7)
    copy.run("training_table", "candidate_model", origin=earlier, as_of=earlier + timedelta(days=DAYS_LATER))
    assert judged() == alone
    assert [entry["origin"] for entry in alone["origins"]] == [str(weeks.week)]


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("2025-04-21", "lies outside the week of the partition 2025-04-14"),
        ("2025-04-13", "lies outside the week of the partition 2025-04-14"),
        ("last week", "'last week' is no day"),
    ],
)
def test_a_day_of_another_week_is_refused(as_of: str, message: str) -> None:
    week = date(2025, 4, 14)
    with pytest.raises(ConfigError, match=message):
        TrainingOrigin(as_of=as_of).day(week)
    assert TrainingOrigin(as_of="2025-04-20").day(week) == date(2025, 4, 20)
    assert TrainingOrigin().day(week) == week


def test_a_person_may_train_as_of_any_day_and_judge_that_candidate_again(copy: Copy, weeks: Weeks) -> None:
    with dg.DagsterInstance.ephemeral() as empty:
        session = Session(copy.deployment, empty)
        result = session.train_only(weeks.as_of)
        assert result.document("metadata.json")["model_origin"] == weeks.moment.isoformat()
        decision = copy.deployment.lake.read_json("champion")
        assert decision["candidate_origin"] == str(weeks.as_of)
        document = session.validate_model(weeks.as_of)
        assert document["candidate_version"] == decision["candidate_version"]
        with pytest.raises(ConfigError, match="an origin is a Monday"):
            session.validate_model(weeks.as_of + timedelta(days=1))
        with pytest.raises(ConfigError, match="is not known yet"):
            session.train(as_of=session.now().date() + timedelta(days=1))
