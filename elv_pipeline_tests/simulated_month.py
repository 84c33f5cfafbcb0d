"""A company and its installation together: mornings without a fault, and everything there is to show afterwards.

Belongs here: a morning as it should be, the passing of a day, and the content that two lives are compared by. Does not
belong here: faults (``simulated_faults.py``, ``test_thirty_days.py``).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from time import time as clock
from typing import Any

import polars as pl
import pytest
from sqlalchemy import make_url

from elv_pipeline.ingest.extracts.snapshots import SUFFIX, manifest_of
from elv_pipeline.lake import Lake
from elv_pipeline.monitoring.alert_state import read_state
from elv_pipeline.orchestration.daily_life import DailyResult
from elv_pipeline.publishing.scores.tables import KEY, VALUES
from elv_pipeline_tests.databases.servers import PostgresDatabase, PostgresServer
from elv_pipeline_tests.simulated_life import HOURS, NAME, Life, Mode, settle, without_pictures
from elv_pipeline_tests.simulated_source import SPEC, SimulatedSource, SourceDatabase

FIRST_MORNING = 84
"""Index of the day on which the installation begins: it trains, and scores from the next morning on."""
TABLES = ("leads", "ads", "outcomes", "joined_leads", "matured_labels", "features", "predictions")
"""Tables of the lake that must be the same, row for row."""
BOARDS = ("campaign_leaderboard", "adset_leaderboard")
RUN_COLUMNS = frozenset({"run_id", "scored_at"})
"""Left out of the comparison of the lake: they name the run and the moment of the clock, not what was found out."""


@dataclass
class Company:
    """A company with its installation, on a morning."""

    source: SourceDatabase
    life: Life
    scores: PostgresDatabase
    alerts_by_day: dict[date, list[str]] = field(default_factory=dict)
    late: dict[date, int] = field(default_factory=dict)

    @classmethod
    def found(cls, server: PostgresServer, folder: Path, *, drifts_on: int, alerts_url: str) -> Company:
        """Make databases, logins and configuration."""
        system = SimulatedSource(drifts_on=SPEC.start_date + timedelta(days=FIRST_MORNING + drifts_on))
        source, scores = SourceDatabase.create(system, _database(server)), _database(server)
        writer = scores.role("writer")
        scores.run(f"GRANT CREATE ON DATABASE {scores.name} TO {writer}")
        life = settle(
            folder,
            start=SPEC.start_date,
            source_url=source.url,
            scores_url=scores.url_of(writer).render_as_string(False),
            alerts_url=alerts_url,
        )
        return cls(source=source, life=life, scores=scores)

    def day(self, index: int) -> date:
        """The calendar day of a morning; 0 is the one of the first training."""
        return self.source.source.day(FIRST_MORNING + index)

    def wake(self, index: int, **late: Any) -> date:
        """Let a day pass until six in the morning: the company's systems go on, leftovers grow old."""
        day = self.day(index)
        for leftover in leftovers(self.life):
            os.utime(leftover, times=(clock() - 2 * 86_400,) * 2)
        self.source.fill(datetime.combine(day, HOURS["predict"], tzinfo=self.source.source.zone), **late)
        return day

    def tick(self, index: int, *, mode: Mode = "predict") -> DailyResult:
        """The work of a morning, in this process."""
        result = self.life.tick(self.day(index), mode=mode)
        self.alerts_by_day[self.day(index)] = sorted(alert["code"] for alert in result.alerts)
        if result.written is not None:
            self.note_late(result.written)
        return result

    def note_late(self, written: Mapping[str, Any]) -> None:
        """Remember which leads a write says were late."""
        self.late |= {date.fromisoformat(day): count for day, count in written["late"].items()}

    def morning(self, index: int, *, days: int = 1) -> DailyResult:
        """A morning on which everything works: score, and on a Monday train.

        Args:
            index: the morning.
            days: days that must be scored in it.
        """
        self.wake(index)
        return self.work(index, days=days)

    def work(self, index: int, *, days: int = 1) -> DailyResult:
        """The work of a morning and of a Monday."""
        result = self.tick(index)
        assert len(result.days.days) == days, result.days
        assert not result.held, result.held
        if index % 7 == 0:
            self.tick(index, mode="train")
        return result


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a month left, as far as two months can be compared.

    Attributes:
        scores: ``dbo.lead_scores`` by key, without the run's id, its moment, and the number of the write.
        states: by key, every state that the history holds, in order.
        ledger: counts of each write.
        changes: rows of the history by kind of change.
        tables: tables of the lake without ``RUN_COLUMNS``.
        boards: leaderboards by day and segment.
        models: registered versions.
        open_alerts: of the last morning.
        alerts_by_day: codes of open alerts by morning.
        late: leads that were scored after their day was, by day.
        leftovers: what was half-written and is still there.
    """

    scores: list[tuple[Any, ...]]
    states: dict[tuple[str, ...], list[tuple[Any, ...]]]
    ledger: list[dict[str, int]]
    changes: dict[str, int]
    tables: dict[str, pl.DataFrame]
    boards: dict[str, pl.DataFrame]
    models: list[str]
    open_alerts: list[dict[str, Any]]
    alerts_by_day: dict[date, list[str]]
    late: dict[date, int]
    leftovers: list[str]


_SCORES = (*KEY, *VALUES, "cutoff", "calibration_method", "model_version", "model_path", "scaler_path")


def shown(company: Company) -> Shown:
    """Read everything that is compared."""
    life, scores = company.life, company.scores
    lake = Lake(life.home.lake(NAME))
    states: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    history = scores.run(
        f"SELECT {', '.join((*KEY, 'change', *VALUES, 'model_version'))} FROM dbo.lead_score_states ORDER BY write_id"
    )
    for row in history:
        states.setdefault(row[:3], []).append(row[3:])
    return Shown(
        scores=scores.run(f"SELECT {', '.join(_SCORES)} FROM dbo.lead_scores ORDER BY {', '.join(KEY)}"),
        states=states,
        ledger=[
            dict(zip(("inserted", "updated", "unchanged", "removed", "row_count"), row, strict=True))
            for row in scores.run(
                "SELECT inserted, updated, unchanged, removed, row_count FROM dbo.score_runs ORDER BY write_id"
            )
        ],
        changes=dict(scores.run("SELECT change, count(*) FROM dbo.lead_score_history GROUP BY change")),
        tables={table: _content(lake, table) for table in TABLES},
        boards={board: _by_segment(_content(lake, board)) for board in BOARDS},
        models=sorted(path.parent.parent.name for path in life.home.models(NAME).glob("*/*/model.joblib")),
        open_alerts=[entry["alert"] for entry in read_state(life.home.alert_state(NAME))["open"].values()],
        alerts_by_day=company.alerts_by_day,
        late=company.late,
        leftovers=[str(path.relative_to(life.folder)) for path in leftovers(life)],
    )


def leftovers(life: Life) -> list[Path]:
    """Everything half-written: staged files and folders, and snapshots that were never completed."""
    root = life.home.root
    staged = [path for name in ("lake", "extracts", "models", "runs", "intake") for path in _staged(root / name)]
    incomplete = [path for path in (root / "extracts").rglob(f"*{SUFFIX}") if manifest_of(path) is None]
    return sorted({*staged, *incomplete})


def _staged(folder: Path) -> list[Path]:
    marks = (".staging", ".staged", ".tmp")
    return [path for path in folder.rglob("*") if path.name.startswith(marks) or path.name.endswith(marks)]


def _content(lake: Lake, table: str) -> pl.DataFrame:
    days = lake.days(table)
    rows = lake.scan_days(table, first=days[0], last=days[-1], grown=True).collect()
    return rows.drop(RUN_COLUMNS, strict=False)


def _by_segment(board: pl.DataFrame) -> pl.DataFrame:
    segments = [name for name in board.columns if name.endswith("_id")]
    return board.sort("day", *segments)


def quiet_month(admin: str, folder: Path, *, mornings: int, drifts_on: int, alerts_url: str) -> Shown:
    """A month without a fault, on the server of an address."""
    server = PostgresServer(make_url(admin))
    company = Company.found(server, folder, drifts_on=drifts_on, alerts_url=alerts_url)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        begin(company)
        for index in range(1, mornings + 1):
            company.morning(index)
    return shown(company)


def begin(company: Company) -> None:
    """The first morning: twelve weeks of history are read, and the first model is trained."""
    company.wake(0)
    company.tick(0, mode="train")


def _database(server: PostgresServer) -> PostgresDatabase:
    database = PostgresDatabase(server, f"elv_{uuid.uuid4().hex[:12]}")
    server.run(f"CREATE DATABASE {database.name} TEMPLATE template0 ENCODING 'UTF8'")
    return database
