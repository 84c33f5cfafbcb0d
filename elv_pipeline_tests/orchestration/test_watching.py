"""The watch: as of a day, blind to what came later, and quiet where nothing has changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.databases.connections import Connection
from elv_pipeline.errors import ElvError, ScoringRefusedError
from elv_pipeline.monitoring.alert_state import read_state
from elv_pipeline.orchestration import watching
from elv_pipeline.orchestration.assets import watching as assets_watching
from elv_pipeline.orchestration.assets.watching import MEASURED, open_alerts, tell
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, SCORED, Copy

pytestmark = BETA
AS_OF = LAST - timedelta(days=2)
NOW = datetime(2025, 4, 26, 7, tzinfo=UTC)


def watch(copy: Copy, *nouns: str, as_of: date | None = None) -> dg.ExecuteInProcessResult:
    config = {"as_of": str(as_of or ""), "now": NOW.isoformat()}
    return copy.run(*nouns, config={"ops": {f"{NAME}__{noun}": {"config": config} for noun in nouns}})


def told(result: dg.ExecuteInProcessResult, noun: str) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node(f"{NAME}__{noun}")
    return {name: value.value for name, value in event.metadata.items()}


def rewrite_labels(copy: Copy, change: Any) -> None:
    for day in SCORED.days:
        path = copy.deployment.lake.partition("matured_labels", day)
        change(pl.read_parquet(path)).write_parquet(path)


def test_a_watch_as_of_a_day_does_not_see_outcomes_recorded_later(copy: Copy) -> None:
    watch(copy, "monitoring", as_of=AS_OF)
    lake = copy.deployment.lake
    before = lake.read_json(MEASURED)
    performance = lake.read_frame("performance")
    assert before["as_of"] == str(AS_OF)
    assert before["drift"]
    later = pl.lit(datetime.combine(AS_OF + timedelta(days=1), time(1), tzinfo=UTC)).dt.cast_time_unit("us")

    def everybody_qualifies_later(rows: pl.DataFrame) -> pl.DataFrame:
        unknown = pl.col("outcome_time").is_null()
        return rows.with_columns(
            pl.when(unknown).then(later).otherwise(pl.col(name)).alias(name)
            for name in ("outcome_time", "outcome_recorded_time")
        )

    rewrite_labels(copy, everybody_qualifies_later)
    watch(copy, "monitoring", as_of=AS_OF)
    assert lake.read_json(MEASURED) == before
    again = lake.read_frame("performance")
    assert (performance is None) == (again is None)
    assert performance is None or performance.equals(again)
    # The same outcomes are seen once the watched day has reached them.
    watch(copy, "monitoring", as_of=LAST)
    assert lake.read_json(MEASURED)["as_of"] == str(LAST)


@pytest.mark.drawn
def test_a_watch_has_a_page_a_verdict_and_a_check(copy: Copy) -> None:
    result = watch(copy, "monitoring")
    metadata = told(result, "monitoring")
    assert metadata["as_of"] == str(LAST)
    assert metadata["verdict"]
    page = copy.deployment.home.monitoring_page(NAME).read_text(encoding="utf-8")
    assert str(LAST) in page
    lead = copy.deployment.scan("predictions", first=LAST, last=LAST).collect()["lead_id"][0]
    assert lead not in page
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.severity) == ("promises_kept", dg.AssetCheckSeverity.WARN)


def test_a_watch_does_not_need_the_database_of_scores(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Connection(name="databases.scores", url=f"sqlite:///{copy.deployment.home.root}/gone/scores.db")
    monkeypatch.setattr(watching, "scores_connection", lambda *_: nowhere)
    assert told(watch(copy, "monitoring"), "monitoring")["as_of"] == str(LAST)
    page = copy.deployment.home.monitoring_page(NAME).read_text(encoding="utf-8")
    assert "Score database: it could not be asked what was written to it." in page


def test_nothing_can_be_watched_before_something_was_scored(copy: Copy) -> None:
    for file in (copy.deployment.lake.root / "predictions").glob("*.parquet"):
        file.unlink()
    with pytest.raises(ScoringRefusedError, match="nothing was scored yet"):
        watch(copy, "monitoring")


def alert(severity: str = "critical", **values: Any) -> dict[str, Any]:
    return {
        "severity": severity,
        "code": "outcomes_vanished",
        "message": "None of 300 leads has an outcome.",
        "action": "Look at the outcomes export.",
        "figure": 300.0,
        "threshold": 0.0,
        **values,
    }


def test_an_open_alert_is_told_once_and_its_end_once(copy: Copy) -> None:
    copy.deployment.lake.write_json(MEASURED, {"alerts": [alert()]})
    first = watch(copy, "alerts")
    assert (told(first, "alerts")["new"], told(first, "alerts")["resolved"]) == (1, 0)
    [check] = first.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "None of 300 leads" in (check.description or "")
    second = told(watch(copy, "alerts"), "alerts")
    assert (second["new"], second["worse"], second["resolved"]) == (0, 0, 0)
    assert len(second["open"]) == 1
    copy.deployment.lake.write_json(MEASURED, {"alerts": []})
    third = watch(copy, "alerts")
    assert told(third, "alerts")["resolved"] == 1
    assert all(check.passed for check in third.get_asset_check_evaluations())
    assert told(watch(copy, "alerts"), "alerts")["resolved"] == 0
    assert open_alerts(copy.deployment) == []


def test_what_another_caller_cannot_judge_stays_open(copy: Copy) -> None:
    """The sensor of failed runs must not settle what only the watch can see."""
    tell(copy.deployment, [alert()], run_id="r1", now=NOW)
    changes, _ = tell(copy.deployment, [], run_id="", now=NOW, judged=frozenset({"run_failed"}))
    assert changes.resolved == ()
    [entry] = read_state(copy.deployment.home.alert_state(NAME))["open"].values()
    assert entry["alert"]["code"] == "outcomes_vanished"


def test_a_message_that_cannot_be_sent_waits_and_is_an_alert_of_its_own(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_HOOK", "http://127.0.0.1:9/hook")  # nobody listens there
    channels = {"channels": [{"kind": "webhook", "url_variable": "ELV_HOOK"}]}
    watched = copy.with_changes(alerts=channels)
    watched.deployment.lake.write_json(MEASURED, {"alerts": [alert()]})
    first = told(watch(watched, "alerts"), "alerts")
    assert (first["new"], first["sent"], first["waiting"]) == (1, 0, 1)
    watch(watched, "alerts")
    codes = [entry["code"] for entry in open_alerts(watched.deployment)]
    assert sorted(codes) == ["alerts_undelivered", "outcomes_vanished"]


def test_two_that_tell_at_once_both_are_heard_and_nothing_is_told_twice(copy: Copy) -> None:
    """The failure sensor beside a watch: one message, and no state that overwrites the other's."""
    failed = alert(code="run_failed", subject="demo_daily")
    with ThreadPoolExecutor() as pool:
        sensors = [
            pool.submit(tell, copy.deployment, [failed], run_id="", now=NOW, judged=frozenset({"run_failed"}))
            for _ in range(4)
        ]
        watched = pool.submit(tell, copy.deployment, [failed, alert()], run_id="r1", now=NOW)
        changes = [future.result()[0] for future in (*sensors, watched)]
    assert sorted(found["code"] for change in changes for found in change.new) == ["outcomes_vanished", "run_failed"]
    assert len(open_alerts(copy.deployment)) == 2


def test_a_watch_that_cannot_remember_fails_and_a_sensor_looks_again(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a watch finds is news for a day; a sensor looks every minute, and must not turn red each time."""
    monkeypatch.setattr(assets_watching, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(assets_watching, "_SENSOR_PATIENCE_SECONDS", 0.0)
    lock = copy.deployment.home.alert_state(NAME).with_suffix(".lock")
    with alone(lock, patience_seconds=0):
        with pytest.raises(ElvError, match="neither remembered nor told"):
            tell(copy.deployment, [alert()], run_id="r1", now=NOW)
        changes, deliveries = tell(
            copy.deployment, [alert(code="run_failed")], run_id="", now=NOW, judged=frozenset({"run_failed"})
        )
    assert (changes.to_tell(), deliveries) == ([], [])
    assert "neither remembered nor told" in caplog.text
    changes, _ = tell(copy.deployment, [alert()], run_id="r2", now=NOW)
    assert [found["code"] for found in changes.new] == ["outcomes_vanished"]


def test_an_earlier_day_that_is_watched_again_is_no_news_and_settles_nothing(copy: Copy) -> None:
    tell(copy.deployment, [alert()], run_id="r1", now=NOW)
    copy.deployment.lake.write_json(MEASURED, {"alerts": [alert(code="score_drift")]})
    back = told(watch(copy, "alerts", as_of=AS_OF), "alerts")
    assert (back["new"], back["resolved"]) == (0, 0)
    assert [found["code"] for found in open_alerts(copy.deployment)] == ["outcomes_vanished"]
    newest = told(watch(copy, "alerts", as_of=LAST), "alerts")
    assert (newest["new"], newest["resolved"]) == (1, 1)


def test_messages_given_up_between_two_watches_are_told_by_the_next_watch(copy: Copy) -> None:
    watched = copy.with_changes(alerts={"channels": [{"kind": "webhook", "url_variable": "ELV_NOT_SET"}]}).deployment
    failed, judged = alert(code="run_failed", subject="demo_daily"), frozenset({"run_failed"})
    tell(watched, [failed], run_id="", now=NOW, judged=judged)
    for minutes in (1, 2, 3):
        tell(watched, [failed], run_id="", now=NOW + timedelta(days=30, minutes=minutes), judged=judged)
    changes, _ = tell(watched, [failed], run_id="r1", now=NOW + timedelta(days=31))
    [stuck] = [found for found in changes.new if found["code"] == "alerts_undelivered"]
    assert "1 message(s) were given up after a month." in stuck["message"]
    changes, _ = tell(watched, [failed], run_id="r2", now=NOW + timedelta(days=31, hours=1))
    [stuck] = [found for found in changes.still_open if found["code"] == "alerts_undelivered"]
    assert "given up" not in stuck["message"]
    changes, _ = tell(watched, [failed], run_id="r3", now=NOW + timedelta(days=32))
    assert changes.new == ()


def test_the_figures_of_a_day_do_not_depend_on_the_number_of_threads(copy: Copy) -> None:
    """Sums of floats do, where they are made in parts; the page of the same day would differ from run to run."""
    random, names = Random(7), (copy.deployment.config.probability_column, "elv")
    for day in SCORED.days:
        path = copy.deployment.lake.partition("predictions", day)
        rows = pl.concat([pl.read_parquet(path)] * 20)
        new = {name: [random.random() for _ in range(rows.height)] for name in names}
        rows.with_columns(**{name: pl.Series(values) for name, values in new.items()}).write_parquet(path)
    days = watching.day_table(copy.deployment, as_of=LAST)
    found = dict(zip(days["day"], days.select("mean_probability", "expected_value").rows(), strict=True))
    for day in SCORED.days:
        rows = pl.read_parquet(copy.deployment.lake.partition("predictions", day))
        alone = rows.group_by("day").agg(pl.col(names[0]).sort().mean(), pl.col(names[1]).sort().sum())
        assert found[day] == alone.select(names).row(0)
