"""Thirty days of faults leave the scores, the history, the ledger and the lake of thirty days without one.

A month takes longer than all other tests together, so it is a tier of its own (``make test-month``), with its first
fortnight for whoever is in a hurry (``-k fortnight``).
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from elv_pipeline.errors import SourceError
from elv_pipeline.orchestration.assets.publishing import WRITTEN
from elv_pipeline.orchestration.daily_life import DailyResult
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline_tests.databases.servers import PostgresServer, restart, running_postgres
from elv_pipeline_tests.simulated_faults import interrupted_read, interrupted_write
from elv_pipeline_tests.simulated_life import Mode, without_pictures
from elv_pipeline_tests.simulated_month import FIRST_MORNING, Company, Shown, begin, quiet_month, shown
from elv_pipeline_tests.simulated_receiver import Receiver, receiving
from elv_pipeline_tests.simulated_source import SPEC

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
MONTH, FORTNIGHT = 30, 14
DRIFTS_ON = 24
"""From this day on two in three leads come without the ids of their ads, in both months."""
DRIFT = "missing_values"
"""Code of the alert that says so."""
LATE = (1, 3, 6, 8, 18, 25)
"""Mornings on which yesterday's evening has not arrived. It comes before the run of the next one, which is killed in
the extract, in the features, before the scores are committed or while alerts are told, or holds a day."""


@pytest.mark.month
def test_a_month_of_faults_ends_as_a_month_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, quiet, receiver, heard = lived(MONTH, tmp_path, monkeypatch)
    same_in_the_end(found, quiet, mornings=MONTH)
    same_drift(found, quiet)
    told_once(receiver)
    told_of_the_drift(receiver, heard)


@pytest.mark.month
def test_a_fortnight_of_faults_ends_as_a_fortnight_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, quiet, receiver, heard = lived(FORTNIGHT, tmp_path, monkeypatch)
    same_in_the_end(found, quiet, mornings=FORTNIGHT)
    told_once(receiver)
    assert heard.told == []  # nothing was wrong


def lived(mornings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Shown, Shown, Receiver, Receiver]:
    """The first mornings of the month with faults and of the one without, side by side, and who was told of them."""
    for name in ("ELV_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with ExitStack() as stack:
        quiet_server, server = (stack.enter_context(running_postgres()) for _ in range(2))
        heard, receiver = (stack.enter_context(receiving()) for _ in range(2))
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
        expected: Future[Shown] = pool.submit(
            quiet_month,
            quiet_server.admin.render_as_string(False),
            tmp_path / "quiet",
            mornings=mornings,
            drifts_on=DRIFTS_ON,
            alerts_url=heard.url,
        )
        company = Company.found(server, tmp_path / "troubled", drifts_on=DRIFTS_ON, alerts_url=receiver.url)
        with pytest.MonkeyPatch.context() as patch:
            without_pictures(patch)
            trouble = troubled(company, server, receiver, mornings=mornings)
        found = shown(company)
        assert found.late == trouble.late  # every lead that was late, on a day that was scored without it
        return found, expected.result(), receiver, heard


def troubled(company: Company, server: PostgresServer, receiver: Receiver, *, mornings: int) -> Trouble:
    """The same mornings, with everything that goes wrong in them."""
    trouble = Trouble(company, server, receiver)
    begin(company)
    for index in range(1, mornings + 1):
        trouble.mornings.get(index, trouble.morning)(index)
    return trouble


@dataclass
class Trouble:
    """The faults, by morning. Mondays are 7, 14, 21 and 28: every model is trained on what a month without knows.

    Days that are missed or held lie between two trainings: a day that is caught up is scored by the champion of the
    day on which it is caught up, so that a promotion in between would, and should, give it another score. So it is with
    leads that are late: on ``LATE`` mornings those of the evening before are, and there on the next.
    """

    company: Company
    server: PostgresServer
    receiver: Receiver
    late: dict[date, int] = field(default_factory=dict)

    def wake(self, index: int, **missing: Any) -> None:
        """Let a day pass; leads that were late arrive, and on some mornings others are."""
        arrived = self.company.source.deliver() if index - 1 in LATE else 0
        if arrived:
            self.late[self.company.day(index - 2)] = arrived
        self.company.wake(index, **missing, **({"some_of": self.company.day(index - 1)} if index in LATE else {}))

    def morning(self, index: int, *, days: int = 1) -> DailyResult:
        """A morning on which everything works, but for leads that are late."""
        self.wake(index)
        return self.company.work(index, days=days)

    @property
    def mornings(self) -> dict[int, Callable[[int], object]]:
        return {
            2: lambda index: self.killed(index, "in_extract", "in_batches"),
            3: self.twice,
            4: lambda index: self.killed(index, "in_features"),
            5: self.missed,
            6: lambda index: self.morning(index, days=2),
            7: self.killed_on_a_monday,
            8: lambda index: self.killed(index, "after_commit"),
            9: self.most_leads_late,
            10: self.late_rows_arrived,
            11: self.no_leads_at_all,
            12: self.late_rows_arrived,
            13: self.writing_login,
            14: lambda index: self.morning(index, days=2),
            15: self.killed_and_never_repeated,
            16: self.missed,
            17: self.missed,
            18: lambda index: self.morning(index, days=4),
            19: self.source_goes_away,
            20: self.scores_go_away,
            22: self.two_at_once,
            23: self.no_ads_at_all,
            24: self.late_rows_arrived,
            26: self.killed_while_nobody_listens,
            28: self.somebody_listens_again,
        }

    def killed(self, index: int, *places: str) -> None:
        """The process dies, at one place after another; then the morning is repeated."""
        self.wake(index)
        for place in places:
            self.dies(index, place)
        self.company.work(index)

    def killed_on_a_monday(self, index: int) -> None:
        """The process dies before the scores are committed, and the one that trains with its candidate registered."""
        self.wake(index)
        before = _tables(self.company)
        self.dies(index, "before_commit")
        assert _tables(self.company) == before
        self.company.tick(index)
        self.dies(index, "in_training", mode="train")
        self.company.tick(index, mode="train")

    def dies(self, index: int, place: str, *, mode: Mode = "predict") -> None:
        process = self.company.life.process(self.company.day(index), mode=mode, kill=place)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, (place, errors)

    def twice(self, index: int) -> None:
        """The scheduler starts the same morning again: nothing is written."""
        self.morning(index)
        before = _tables(self.company)
        again = self.company.tick(index)
        assert again.written is not None
        assert (again.written["inserted"], again.written["updated"]) == (0, 0)
        assert again.written["unchanged"] > 0
        scores, history, _ = _tables(self.company)
        assert (scores, history) == before[:2]

    def two_at_once(self, index: int) -> None:
        """Two schedulers start the same morning at the same moment: one works, the other is refused or comes after."""
        self.wake(index)
        gate = self.company.life.folder / "gate"
        processes = [self.company.life.process(self.company.day(index), gate=gate) for _ in range(2)]
        _wait(lambda: len(list(gate.parent.glob("gate.*"))) == 2)
        gate.touch()
        ends = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
        assert 0 in [code for _, code in ends], ends
        assert all(code == 0 or "one run at a time" in errors for errors, code in ends), ends

    def missed(self, index: int) -> None:
        """The machine is off."""
        self.wake(index)

    def killed_and_never_repeated(self, index: int) -> None:
        """The process dies before its scores are committed, and the machine stays off: they are still owed."""
        self.wake(index)
        self.dies(index, "before_commit")

    def most_leads_late(self, index: int) -> None:
        """At six, two in three leads of the day have not arrived: the day is held, nothing of it is written."""
        yesterday = self.company.day(index - 1)
        self.wake(index, most_of=yesterday)
        self._held(index, table="leads", kind="too_few_rows")

    def no_leads_at_all(self, index: int) -> None:
        """The load of a table did not run."""
        self.wake(index, without=("leads",))
        self._held(index, table="leads", kind="no_rows")

    def no_ads_at_all(self, index: int) -> None:
        """And of the other table, whose figures a model reads a day later: they must not count as restated."""
        self.wake(index, without=("ads",))
        self._held(index, table="ads", kind="no_rows")

    def _held(self, index: int, *, table: str, kind: str) -> None:
        before = _tables(self.company)
        result = self.company.tick(index)
        assert list(result.held) == [self.company.day(index - 1)]
        [finding] = result.held[self.company.day(index - 1)]["findings"]
        assert (finding["table"], finding["kind"]) == (table, kind)
        assert "day_held" in [alert["code"] for alert in result.alerts]
        new = {row[1] for row in _tables(self.company)[0]} - {row[1] for row in before[0]}
        assert len(new) == (self.late[self.company.day(index - 2)] if index - 1 in LATE else 0)
        if not new:
            assert _tables(self.company)[:2] == before[:2]

    def late_rows_arrived(self, index: int) -> None:
        self.wake(index)
        assert self.company.source.deliver() > 0
        self.company.work(index, days=2)

    def writing_login(self, index: int) -> None:
        """Somebody gave the login of the extracts more than it needs: nothing is read until it is taken back."""
        self.wake(index)
        self.company.source.allow_writing()
        with pytest.raises(SourceError, match="INSERT"):
            self.company.tick(index)
        self.company.source.forbid_writing()

    def source_goes_away(self, index: int) -> None:
        """The source is restarted between two batches of an extract."""
        with interrupted_read(self._interrupt) as batches:
            self.morning(index)
        assert batches

    def scores_go_away(self, index: int) -> None:
        """The database of the scores is restarted between two days, and again before a write is committed."""
        self._interrupt()
        with interrupted_write(self._interrupt) as struck:
            self.morning(index)
        assert struck

    def _interrupt(self) -> None:
        """Restart the server; where it is not ours to restart, end every session of both databases."""
        if self.server.restartable:
            restart(self.server)
            return
        for database in (self.company.source.database, self.company.scores):
            self.server.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database.name}' AND pid <> pg_backend_pid()"
            )

    def killed_while_nobody_listens(self, index: int) -> None:
        """The receiver of alerts is down, and the process dies between the memory of what is told and the outbox."""
        self.receiver.down = True
        self.wake(index)
        self.dies(index, "in_telling")
        # The dead process has written; the one that repeats its work finds nobody late any more.
        written = deployment_of(self.company.life.config, self.company.life.home).lake.read_json(WRITTEN)
        assert written is not None
        self.company.note_late(written)
        self.company.work(index)

    def somebody_listens_again(self, index: int) -> None:
        assert self.receiver.refused > 0
        self.receiver.down = False
        self.morning(index)


def _tables(company: Company) -> tuple[list[tuple[object, ...]], ...]:
    return tuple(
        company.scores.run(f"SELECT * FROM dbo.{table} ORDER BY 1, 2, 3")
        for table in ("lead_scores", "lead_score_history", "score_runs")
    )


def _wait(until: Callable[[], bool], *, seconds: float = 120.0) -> None:
    end = monotonic() + seconds
    while not until():
        assert monotonic() < end, "the processes did not start"
        sleep(0.01)


def same_in_the_end(found: Shown, quiet: Shown, *, mornings: int) -> None:
    """What must agree exactly, and in each month with itself.

    Left out are the names of runs, the moments at which they ran, and the numbers of writes: a day that was caught up
    was written by a later run. The states of each lead must be the same, in the same order.
    """
    assert found.scores == quiet.scores
    assert found.states == quiet.states
    for table, rows in quiet.tables.items():
        assert rows.height > 0, table
        assert found.tables[table].equals(rows), table
    for board, rows in quiet.boards.items():
        assert found.boards[board].equals(rows), board
    assert found.models == quiet.models
    assert len(quiet.models) == mornings // 7 + 1
    assert found.open_alerts == quiet.open_alerts
    for month in (found, quiet):
        assert sum(write["inserted"] for write in month.ledger) == month.changes["insert"] == len(month.scores)
        assert sum(write["updated"] for write in month.ledger) == month.changes.get("update", 0)
        assert all(
            write["inserted"] + write["updated"] + write["unchanged"] == write["row_count"] for write in month.ledger
        )
        assert month.leftovers == []


def same_drift(found: Shown, quiet: Shown) -> None:
    """The planted drift is noticed in both months, on the same morning, and not before it began."""
    first = {name: _first_morning(month, DRIFT) for name, month in (("found", found), ("quiet", quiet))}
    assert first["found"] == first["quiet"]
    assert SPEC.start_date + timedelta(days=FIRST_MORNING + DRIFTS_ON) < first["quiet"]
    assert not {"day_held", "run_failed", "run_abandoned"} & {
        code for codes in quiet.alerts_by_day.values() for code in codes
    }


def _first_morning(month: Shown, code: str) -> date:
    return min(day for day, codes in month.alerts_by_day.items() if code in codes)


def told_once(receiver: Receiver) -> None:
    """People hear of each fault once, whoever was down or died."""
    ids = [message["id"] for message in receiver.taken]
    assert len(ids) == len(set(ids))
    new = [code for _, change, code in receiver.told if change == "new"]
    assert new.count("day_held") >= 2
    assert "run_failed" in new


def told_of_the_drift(receiver: Receiver, heard: Receiver) -> None:
    """Of the drift people hear the same in both months, and of faults nothing where there was none."""
    about_drift = [told for told in heard.told if told[2] == DRIFT]
    assert about_drift
    assert [told for told in receiver.told if told[2] == DRIFT] == about_drift
    assert [code for _, change, code in receiver.told if change == "new"].count("day_held") == 3
    assert not {"day_held", "run_failed", "run_abandoned"} & {code for _, _, code in heard.told}
