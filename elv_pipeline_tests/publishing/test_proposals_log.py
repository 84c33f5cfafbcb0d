"""The log loses nothing, refuses what cannot follow, and gives back the state."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from elv_pipeline.decisions.recommend.lifecycle import LifecycleError
from elv_pipeline.errors import ConfigError
from elv_pipeline.publishing import proposals_log
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline.publishing.proposals_log import proposal_states, record_drafts, record_transition, transitions

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from elv_pipeline.errors import ElvError
from elv_pipeline.publishing.proposals_log import record_drafts, record_transition
file, who, now = Path(sys.argv[1]), sys.argv[2], datetime(2026, 3, 2, 10, tzinfo=UTC)
record_drafts(file, [f"{who}-{number}" for number in range(20)], why="a run", now=now)
for number in range(20):
    try:
        record_transition(file, f"shared-{number}", state="approved", who=who, why="we agreed", now=now)
        print("won")
    except ElvError:
        print("late")
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "home" / "proposals.jsonl"


def test_a_life_is_one_line_a_transition_and_reads_back(log: Path) -> None:
    record_drafts(log, ["p1"], why="run of 2 March", now=NOW)
    record_transition(log, "p1", state="approved", who=" Ada ", why="worth a try", now=NOW + timedelta(hours=1))
    record_transition(log, "p1", state="running", who="Ben", why="allocated", now=NOW + timedelta(hours=2))
    last = record_transition(
        log, "p1", state="adopted", who="Ada", why="plan 0123: better", now=NOW + timedelta(days=9)
    )
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["state"] for line in lines] == ["draft", "approved", "running", "adopted"]
    assert lines[1] == {
        "proposal_id": "p1",
        "state": "approved",
        "who": "Ada",
        "why": "worth a try",
        "at": "2026-03-02T10:00:00+00:00",
    }
    assert proposal_states(log) == {"p1": last}
    assert transitions(log)[-1] == last


def test_a_moment_without_a_zone_is_refused(log: Path) -> None:
    record_drafts(log, ["p1"], why="a run", now=NOW)
    with pytest.raises(LifecycleError):
        record_transition(log, "p1", state="approved", who="Ada", why="worth a try", now=NOW.replace(tzinfo=None))
    assert proposal_states(log)["p1"].state == "draft"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\x0c"])
def test_a_reason_with_an_odd_end_of_line_is_read_back(log: Path, end: str) -> None:
    record_drafts(log, ["p1"], why="a run", now=NOW)
    record_transition(log, "p1", state="rejected", who="Ada", why=f"first{end}second", now=NOW)
    assert proposal_states(log)["p1"].state == "rejected"


def test_drafts_are_recorded_once_and_keep_their_state(log: Path) -> None:
    record_drafts(log, ["p2", "p1", "p1"], why="first run", now=NOW)
    record_transition(log, "p1", state="approved", who="Ada", why="worth a try", now=NOW)
    before = log.read_bytes()
    found = record_drafts(log, ["p1", "p2"], why="second run", now=NOW + timedelta(days=1))
    assert log.read_bytes() == before
    assert {name: last.state for name, last in found.items()} == {"p1": "approved", "p2": "draft"}
    record_drafts(log, ["p3"], why="third run", now=NOW + timedelta(days=2))
    assert log.read_bytes().startswith(before)
    assert list(proposal_states(log)) == ["p1", "p2", "p3"]


def test_nothing_is_written_where_a_transition_is_refused(log: Path) -> None:
    record_drafts(log, ["p1"], why="a run", now=NOW)
    before = log.read_bytes()
    for state, who, why, error in (
        ("running", "Ada", "worth a try", LifecycleError),
        ("approved", "", "worth a try", ConfigError),
        ("approved", "(automatic)", "worth a try", ConfigError),
        ("approved", "Ada", "ok", ConfigError),
        ("draft", "Ada", "once more", LifecycleError),
    ):
        with pytest.raises(error):
            record_transition(log, "p1", state=state, who=who, why=why, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(LifecycleError, match="unknown is not known"):
        record_transition(log, "unknown", state="approved", who="Ada", why="worth a try", now=NOW)
    assert log.read_bytes() == before


def test_writers_at_once_lose_nothing_and_only_one_decides(log: Path) -> None:
    record_drafts(log, [f"shared-{number}" for number in range(20)], why="a run", now=NOW)
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(log), who], stdout=subprocess.PIPE, text=True)
        for who in ("Ada", "Ben", "Cem")
    ]
    told = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert all(racer.returncode == 0 for racer in racers)
    assert sum(Counter(words)["won"] for words in told) == 20
    assert len(log.read_text(encoding="utf-8").splitlines()) == 20 + 3 * 20 + 20
    states = proposal_states(log)
    assert Counter(last.state for last in states.values()) == {"draft": 60, "approved": 20}


def test_a_line_that_was_left_unfinished_never_happened(log: Path) -> None:
    record_drafts(log, ["p1"], why="a run", now=NOW)
    with log.open("ab") as file:
        file.write(b'{"proposal_id": "p1", "state": "appro')
    assert proposal_states(log)["p1"].state == "draft"
    record_transition(log, "p1", state="approved", who="Ada", why="worth a try", now=NOW)
    assert proposal_states(log)["p1"].state == "approved"


@pytest.mark.parametrize(
    "edited",
    [
        {"proposal_id": "p2", "state": "running", "who": "Eve", "why": "edited", "at": "2026-03-02T09:00:00+00:00"},
        {"proposal_id": "p2", "state": "draft", "who": "Eve"},
        {"proposal_id": "p2", "state": "draft", "who": "Eve", "why": "edited", "at": "yesterday"},
        {"proposal_id": "p2", "state": "draft", "who": "Eve", "why": "edited", "at": 7},
        {"proposal_id": 7, "state": "draft", "who": "Eve", "why": "edited", "at": "2026-03-02T09:00:00+00:00"},
    ],
)
def test_an_edited_log_is_refused(log: Path, edited: dict[str, object]) -> None:
    record_drafts(log, ["p1"], why="a run", now=NOW)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(edited) + "\n")
    with pytest.raises(LifecycleError, match=r"not known|restore it"):
        proposal_states(log)


def test_a_log_that_another_holds_for_too_long_is_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals_log, "PATIENCE_SECONDS", 0.0)
    with (
        alone(log.with_name("proposals.jsonl.lock"), patience_seconds=0),
        pytest.raises(LifecycleError, match="in use"),
    ):
        record_drafts(log, ["p1"], why="a run", now=NOW)
    assert not log.exists()


def test_no_log_is_no_proposal(log: Path) -> None:
    assert proposal_states(log) == {}
