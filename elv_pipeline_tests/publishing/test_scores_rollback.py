"""Taking scores back, on every database, against a model of what must stand in the table."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine

from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.rollback import rollback_days, rollback_run
from elv_pipeline.publishing.scores.undo import RollbackCounts
from elv_pipeline.publishing.scores.writing import upsert_scores
from elv_pipeline_tests.publishing.score_samples import (
    LABEL,
    WRITTEN,
    ledger,
    predictions,
    rows_of,
    states,
    stored,
    told,
)

FIRST_DAY = date(2025, 3, 1)


def write(engine: Engine, scores: dict[str, float], run_id: str, **kwargs: Any) -> None:
    org = kwargs.pop("org_id", "acme")
    upsert_scores(engine, rows_of(told(predictions(scores, run_id=run_id, **kwargs)), org_id=org))


def scores_of(engine: Engine) -> dict[str, float]:
    return {row["enrollment_id"]: row["score"] for row in stored(engine)}


def test_a_run_is_taken_back_exactly(engine: Engine) -> None:
    write(engine, {"a": 0.1, "b": 0.2}, "run-1")
    before = stored(engine)
    write(engine, {"a": 0.9, "b": 0.2, "c": 0.3}, "run-2", model_version="2")
    assert rollback_run(engine, "run-2", reason="bad model", who="ada", clock=lambda: WRITTEN) == RollbackCounts(
        "run-2", restored=2, removed=1, kept=0
    )
    assert stored(engine) == before
    noted = ledger(engine)[-1]
    assert (noted["kind"], noted["undoes_run_id"], noted["reason"], noted["who"]) == (
        "rollback",
        "run-2",
        "bad model",
        "ada",
    )
    assert (noted["updated"], noted["removed"], noted["row_count"]) == (2, 1, 3)
    told_of = [(row["change"], row["enrollment_id"], row["run_id"], row["restored_write_id"]) for row in states(engine)]
    assert told_of[-3:] == [
        ("restore", "a", "run-1", 1),
        ("restore", "b", "run-1", 1),
        ("remove", "c", noted["run_id"], None),
    ]


def test_taking_back_what_is_not_there_is_refused(engine: Engine) -> None:
    write(engine, {"a": 0.1}, "run-1")
    with pytest.raises(ContractError, match="run run-9 has written nothing, so there is nothing to roll back"):
        rollback_run(engine, "run-9")
    with pytest.raises(ContractError, match="run run-1 has written nothing of org_id other"):
        rollback_run(engine, "run-1", org_id="other")
    with pytest.raises(ContractError, match="no lead predicted from 2025-03-05"):
        rollback_days(engine, date(2025, 3, 5), date(2025, 3, 6), timezone="UTC")
    rollback_run(engine, "run-1")
    with pytest.raises(ContractError, match="run-1 wrote is rolled back already"):
        rollback_run(engine, "run-1")
    assert [row["kind"] for row in ledger(engine)] == ["write", "rollback"]


def test_a_dry_run_of_a_rollback_counts_and_changes_nothing(engine: Engine) -> None:
    write(engine, {"a": 0.1}, "run-1")
    write(engine, {"a": 0.2, "b": 0.2}, "run-2")
    before = (stored(engine), ledger(engine), states(engine))
    counts = rollback_run(engine, "run-2", dry_run=True)
    assert counts == RollbackCounts("run-2", restored=1, removed=1, kept=0)
    assert (stored(engine), ledger(engine), states(engine)) == before
    assert rollback_run(engine, "run-2") == counts


def test_what_a_later_run_told_is_kept_and_an_undone_state_never_returns(engine: Engine) -> None:
    write(engine, {"a": 0.1, "b": 0.1}, "run-1")
    write(engine, {"a": 0.9, "b": 0.9}, "bad")
    write(engine, {"a": 0.3}, "run-3")
    assert rollback_run(engine, "bad") == RollbackCounts("bad", restored=1, removed=0, kept=1)
    assert scores_of(engine) == {"a": 0.3, "b": 0.1}
    assert rollback_run(engine, "run-3").restored == 1
    assert scores_of(engine) == {"a": 0.1, "b": 0.1}


def test_a_run_may_write_again_after_it_was_taken_back(engine: Engine) -> None:
    write(engine, {"a": 0.1}, "run-1")
    rollback_run(engine, "run-1")
    assert stored(engine) == []
    write(engine, {"a": 0.1}, "run-1")
    assert scores_of(engine) == {"a": 0.1}
    assert rollback_run(engine, "run-1").removed == 1


def test_a_day_goes_back_one_run_at_a_time(engine: Engine) -> None:
    days = [datetime(2025, 3, day, 12, tzinfo=UTC) for day in (1, 2)]
    for number, run in enumerate(("run-1", "run-2", "run-3")):
        for day in days:
            write(engine, {f"lead-{day.day}": 0.1 * (number + 1)}, run, created=day)
    second = date(2025, 3, 2)
    assert rollback_days(engine, second, second, timezone="UTC") == RollbackCounts("run-3", 1, 0, 0)
    assert scores_of(engine) == {"lead-1": pytest.approx(0.3), "lead-2": pytest.approx(0.2)}
    before = stored(engine)
    with pytest.raises(ContractError, match=r"rolled back already \(run run-3 is undone\).*before run run-2.*--again"):
        rollback_days(engine, second, second, timezone="UTC")
    assert stored(engine) == before
    assert rollback_days(engine, date(2025, 3, 1), date(2025, 3, 1), timezone="UTC").run_id == "run-3"  # another day
    write(engine, {"lead-1": 0.3}, "run-3b", created=days[0])
    assert rollback_days(engine, second, second, timezone="UTC", again=True).run_id == "run-2"
    assert rollback_days(engine, second, second, timezone="UTC", again=True) == RollbackCounts("run-1", 0, 1, 0)
    assert scores_of(engine) == {"lead-1": pytest.approx(0.3)}
    assert rollback_days(engine, date(2025, 3, 1), date(2025, 3, 1), timezone="UTC").run_id == "run-3b"
    assert scores_of(engine) == {"lead-1": pytest.approx(0.2)}


def test_days_that_an_undone_run_never_touched_are_not_rolled_back_yet(engine: Engine) -> None:
    first, second = (datetime(2025, 3, day, 12, tzinfo=UTC) for day in (1, 2))
    write(engine, {"a": 0.1}, "run-1", created=first)
    write(engine, {"b": 0.2}, "run-2", created=second)
    rollback_run(engine, "run-2")
    assert rollback_days(engine, first.date(), first.date(), timezone="UTC").run_id == "run-1"


def test_days_are_days_of_the_place(engine: Engine) -> None:
    write(engine, {"late": 0.1}, "run-1", created=datetime(2025, 3, 2, 1, 30, tzinfo=UTC))  # 22:30 of 1 March there
    with pytest.raises(ContractError, match="no lead predicted"):
        rollback_days(engine, date(2025, 3, 2), date(2025, 3, 2), timezone="America/Sao_Paulo")
    assert rollback_days(engine, date(2025, 3, 1), date(2025, 3, 1), timezone="America/Sao_Paulo").removed == 1


def test_a_rollback_stays_inside_its_organisation(engine: Engine) -> None:
    for org in ("acme", "other"):
        write(engine, {"a": 0.1}, "run-1", org_id=org)
        write(engine, {"a": 0.2}, "run-2", org_id=org)
    assert rollback_run(engine, "run-2", org_id="acme").restored == 1
    assert [(row["org_id"], row["score"]) for row in stored(engine)] == [("acme", 0.1), ("other", 0.2)]
    assert rollback_run(engine, "run-2").restored == 1  # what is left of it
    assert [row["score"] for row in stored(engine)] == [0.1, 0.1]


@dataclass
class Model:
    """The rules in a few lines: states in order, what was undone, and the newest state that was not."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def table(self) -> dict[str, dict[str, Any]]:
        shown: dict[str, dict[str, Any]] = {}
        for place, (kind, rows) in enumerate(self.events):
            if kind == "write":
                shown.update({key: row for key, row in rows.items() if not self.undone(row, place)})
        return shown

    def undone(self, row: dict[str, Any], place: int) -> bool:
        return any(
            kind == "undo" and undo[0] == row["run_id"] and undo[1] <= row["prediction_time"].date() <= undo[2]
            for kind, undo in self.events[place:]
        )

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Unchanged rows leave no state."""
        now = self.table()
        apart = ("run_id", "run_timestamp_utc")

        def content(row: dict[str, Any] | None) -> dict[str, Any] | None:
            return row and {name: value for name, value in row.items() if name not in apart}

        new = {row["enrollment_id"]: row for row in rows}
        self.events.append(("write", {key: row for key, row in new.items() if content(row) != content(now.get(key))}))

    def undo(self, run_id: str, first: date, last: date) -> None:
        self.events.append(("undo", (run_id, first, last)))


def random_rows(chance: random.Random, run: str) -> pl.DataFrame:
    parts = [
        told(
            predictions(
                {f"{day}-{lead}": chance.choice([0.1, 0.2, 0.3]) for lead in chance.sample(range(4), 3)},
                run_id=run,
                created=datetime(2025, 3, 1 + day, 12, tzinfo=UTC),
            )
        )
        for day in chance.sample(range(3), chance.randint(1, 3))
    ]
    return rows_of(pl.concat(parts), written_at=WRITTEN)


@pytest.mark.parametrize(
    "seed", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_after_anything_the_table_is_what_the_rules_say_and_the_history_can_tell_every_moment(
    engine: Engine, seed: int
) -> None:
    chance, model, seen = random.Random(seed), Model(), []
    for turn in range(25):
        what = chance.random()
        if what < 0.6 or not seen:
            rows = random_rows(chance, run=f"run-{turn if chance.random() < 0.8 else 0}")
            upsert_scores(engine, rows)
            model.write(rows.to_dicts())
        elif what < 0.8:
            run = f"run-{chance.randrange(turn)}"
            with contextlib.suppress(ContractError):  # it never wrote, or is undone; the table must stay as it is
                rollback_run(engine, run)
                model.undo(run, date.min, date.max)
        else:
            first = FIRST_DAY + timedelta(days=chance.randrange(3))
            last = min(first + timedelta(days=chance.randrange(2)), FIRST_DAY + timedelta(days=2))
            try:
                found = rollback_days(engine, first, last, timezone="UTC", again=True, org_id="acme", label_col=LABEL)
                model.undo(found.run_id, first, last)
            except ContractError:
                assert not [row for row in model.table().values() if first <= row["prediction_time"].date() <= last]
        table = stored(engine)
        assert {row["enrollment_id"]: row for row in without_write(table)} == model.table()
        seen.append((max((row["write_id"] for row in ledger(engine)), default=0), table))
    history = states(engine)
    for newest, table in seen:
        assert as_of(history, newest) == table


def without_write(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "write_id"} for row in rows]


def as_of(history: list[dict[str, Any]], write_id: int) -> list[dict[str, Any]]:
    """The table as it stood after a write, from the history alone."""
    newest = {row["enrollment_id"]: row for row in history if row["write_id"] <= write_id}
    return [
        {
            **{name: row[name] for name in row if name not in OF_THE_HISTORY},
            "write_id": row["restored_write_id"] or row["write_id"],
        }
        for _, row in sorted(newest.items())
        if row["change"] != "remove"
    ]


OF_THE_HISTORY = ("change", "previous_write_id", "restored_write_id", "written_by_run_id", "written_at_utc")
