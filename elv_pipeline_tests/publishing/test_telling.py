"""Whatever dies, and wherever: people hear of each change, and under one id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.alert_state import EMPTY, read_state, update, write_state
from elv_pipeline.publishing.alerting.telling import Teller
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline.settings_operation import Channel
from elv_pipeline_tests.publishing.receivers import WebReceiver, web_receiver

NOW = datetime(2025, 6, 17, 6, tzinfo=UTC)
CHANNELS = 2
MOST_STEPS = 60
"""More than a telling of two channels has; the last one must live."""


class Victims:
    """Tells in processes that may be told to die."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, folder: Path, url: str, *codes: str, now: datetime = NOW, step: int = 0) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        task = {"folder": str(folder), "url": url, "codes": codes, "now": now.isoformat(), "step": step}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def victims() -> Iterator[Victims]:
    command = [sys.executable, "-m", "elv_pipeline_tests.publishing.telling_victim"]
    environment = {**os.environ, "no_proxy": "*"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Victims(process)
        assert process.stdin is not None
        process.stdin.close()


def heard(receiver: WebReceiver) -> list[tuple[str, str, str]]:
    """Channel, change and code of what was told, each id of each channel once."""
    once = {(path, key): body for path, key, body in zip(receiver.paths, receiver.keys, receiver.bodies, strict=True)}
    return sorted(
        (path.rpartition("/")[2], alert["change"], alert["code"])
        for (path, _), body in once.items()
        for alert in body["alerts"]
    )


def twice(receiver: WebReceiver) -> int:
    """How many requests repeated one that was taken."""
    return len(receiver.keys) - len(set(zip(receiver.paths, receiver.keys, strict=True)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_killed_before_every_single_step_nobody_is_told_twice_or_not_at_all(tmp_path: Path) -> None:
    """The repeat comes on another day and finds one alert more, so it would make another message of the first."""
    everybody = [
        (name, "new", code) for name in ("ELV_HOOK", "ELV_OTHER") for code in ("score_drift", "table_not_refreshed")
    ]
    repeated, killed = 0, 0
    with victims() as process:
        for step in range(1, MOST_STEPS):
            folder = tmp_path / str(step)
            folder.mkdir()
            with web_receiver() as receiver:
                end = process.tell(folder, receiver.url, "score_drift", step=step)
                again = process.tell(
                    folder, receiver.url, "score_drift", "table_not_refreshed", now=NOW + timedelta(days=1)
                )
                assert again == "lived"
                assert heard(receiver) == everybody, f"killed before step {step}"
                repeated += twice(receiver)
            assert not list((folder / "outbox" / "shop").glob("*.json")), step
            assert "outgoing" not in read_state(folder / "shop.json")
            if end == "lived":
                break
            assert end == "killed"
            killed += 1
    # State and its clearing, an outbox file and a connection and a removal for each channel, at the least.
    assert killed >= 2 + 3 * CHANNELS
    # Only a death between the answer and the removal may repeat a request, once for each channel.
    assert repeated == CHANNELS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_an_alert_that_is_gone_at_the_repeat_is_told_with_its_end(tmp_path: Path) -> None:
    """Whoever was told of it must hear that it is over, and nobody else."""
    with victims() as process:
        for step in range(1, MOST_STEPS):
            folder = tmp_path / str(step)
            folder.mkdir()
            with web_receiver() as receiver:
                end = process.tell(folder, receiver.url, "score_drift", step=step)
                for days in (1, 2):  # a warning counts as settled on the second day
                    process.tell(folder, receiver.url, now=NOW + timedelta(days=days))
                told = heard(receiver)
            began, ended = ([name for name, what, _ in told if what == change] for change in ("new", "resolved"))
            assert began == ended, f"killed before step {step}"
            assert began in ([], ["ELV_HOOK", "ELV_OTHER"]), f"killed before step {step}"
            if end == "lived":
                break
        assert (step > 5, began) == (True, ["ELV_HOOK", "ELV_OTHER"])


def teller(folder: Path, **changes: Any) -> Teller:
    hook = Channel(kind="webhook", url_variable="ELV_HOOK")
    return Teller(
        **{"configuration": "shop", "place": folder / "shop.json", "channels": [hook], "patience_seconds": 0, **changes}
    )


def alert(code: str = "score_drift", severity: str = "warning") -> dict[str, Any]:
    return {"severity": severity, "code": code, "message": f"{code}.", "action": "Look."}


def test_the_same_alert_three_times_on_one_day_is_three_messages(tmp_path: Path) -> None:
    critical = alert("run_failed", "critical")
    with web_receiver() as receiver:
        for hour, found in enumerate(([critical], [], [critical])):
            now = NOW + timedelta(hours=hour)
            teller(tmp_path).remember(found, run_id="", now=now)
            teller(tmp_path).send(environment={"ELV_HOOK": receiver.url}, now=now)
    assert [body["alerts"][0]["change"] for body in receiver.bodies] == ["new", "resolved", "new"]
    assert len(set(receiver.keys)) == 3


def test_what_is_new_is_remembered_while_another_one_is_still_sending(tmp_path: Path) -> None:
    """Sending takes minutes where a channel is down; a critical alert must not wait for the next day's watch."""
    me = teller(tmp_path)
    with alone(me.outbox.lock, patience_seconds=0):
        changes = me.remember([alert()], run_id="r1", now=NOW)
        assert me.send(environment={}, now=NOW) == []
    assert [found["code"] for found in changes.new] == ["score_drift"]
    assert list(read_state(me.place)["open"]) == ["score_drift"]
    with web_receiver() as receiver:
        me.send(environment={"ELV_HOOK": receiver.url}, now=NOW)
    assert len(receiver.bodies) == 1


def test_who_finds_another_one_sending_leaves_the_message_to_it(tmp_path: Path) -> None:
    me = teller(tmp_path, patience_seconds=5)
    me.remember([alert()], run_id="r1", now=NOW)
    with web_receiver(pause=0.3) as receiver:
        environment = {"ELV_HOOK": receiver.url}
        code = (
            "import sys; from datetime import *; from pathlib import Path;"
            "from elv_pipeline_tests.publishing.test_telling import *;"
            "me = teller(Path(sys.argv[1]));"
            "me.remember([alert(), alert('run_failed', 'critical')], run_id='r2', now=NOW + timedelta(minutes=1));"
            "print(me.send(environment={}, now=NOW))"
        )
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
            with alone(me.outbox.lock, patience_seconds=0):
                said, _ = other.communicate(timeout=60)
            found = me.send(environment=environment, now=NOW)
    assert said.strip() == "[]"
    assert [delivery.outcome for delivery in found] == ["delivered", "delivered"]
    assert sorted(body["alerts"][0]["code"] for body in receiver.bodies) == ["run_failed", "score_drift"]


def test_who_cannot_remember_says_so_instead_of_losing_an_alert(tmp_path: Path) -> None:
    me = teller(tmp_path)
    with alone(me.lock, patience_seconds=0), pytest.raises(ElvError, match="neither remembered nor told"):
        me.remember([alert()], run_id="r1", now=NOW)
    assert [found["code"] for found in me.remember([alert()], run_id="r2", now=NOW).new] == ["score_drift"]


def test_messages_given_up_are_told_of_once_even_where_the_first_to_tell_dies(tmp_path: Path) -> None:
    me = teller(tmp_path)
    me.remember([alert()], run_id="r1", now=NOW)
    late = NOW + timedelta(days=31)
    me.send(environment={}, now=late)
    assert len(me.outbox.lost()) == 1  # a death here forgets nothing
    changes = me.remember([alert()], run_id="r2", now=late)
    [stuck] = [found for found in changes.new if found["code"] == "alerts_undelivered"]
    assert "1 message(s) were given up after a month." in stuck["message"]
    assert me.outbox.lost() == []


def test_a_channel_that_is_added_later_hears_what_is_open_already_once(tmp_path: Path) -> None:
    """Alerts that were found while nobody was to be told would otherwise never be told."""
    alone_before = teller(tmp_path, channels=[])
    alone_before.remember([alert()], run_id="r1", now=NOW)
    with web_receiver() as receiver:
        for hour in range(3):
            me, now = teller(tmp_path), NOW + timedelta(hours=hour)
            me.remember([alert(), *([alert("missing_values")] if hour else [])], run_id="r2", now=now)
            me.send(environment={"ELV_HOOK": receiver.url}, now=now)
    told = [[(said["change"], said["code"]) for said in body["alerts"]] for body in receiver.bodies]
    assert told == [[("open", "score_drift")], [("new", "missing_values")]]


def test_a_memory_of_an_earlier_release_knows_its_channels(tmp_path: Path) -> None:
    me = teller(tmp_path)
    state, _ = update(EMPTY, [alert()], now=NOW)
    write_state(me.place, state)
    me.remember([alert()], run_id="r1", now=NOW)
    assert me.outbox.waiting() == []
