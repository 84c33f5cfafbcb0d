"""One configuration in one home: where its tables are, what its problem is, how far its data reach.

Belongs here: what every asset of a configuration needs to find its inputs, whatever the problem. Does not belong here:
what a problem's own tables are (``lead_ads_deployment.py``, ``outreach_deployment.py``), Dagster types, or computation
on rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

import polars as pl

from elv_pipeline.decisions.leaderboards import BOARDS, LeaderboardSpec
from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.orchestration.day_windows import Window
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.problems.words import Words, words_of
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.tables.labels import Observation

SUMMARY_DAYS = 400
"""Days of leads behind the join and label counts of a report: a year and a month to compare it with."""
SCORED = ("predictions", "challenger_predictions")
"""Tables that are not computed anew for days that were published, as boards are; a newer version may have added
columns."""


@dataclass(frozen=True)
class Deployment(ABC):
    """A configuration with its home. Cheap to make; reads nothing until asked."""

    config: PipelineConfig
    home: Home

    problem: ClassVar[ScoringProblem]
    """The declaration of what is scored."""
    rows_table: ClassVar[str]
    """Daily table with every row that is to be scored."""
    raw_schemas: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What daily tables look like of which no day is written."""
    shared_tables: ClassVar[frozenset[str]] = frozenset()
    """Tables that the targets of one file share; they belong to ``config.shared_name``."""
    read_first: ClassVar[tuple[str, ...]] = ()
    """Tables that the profile of the data is made of."""
    called: ClassVar[Mapping[str, str]] = {}
    """Tables whose asset has another name than the table of the lake, in the words of the problem."""

    @property
    def name(self) -> str:
        """Prefix of the asset keys."""
        return self.config.name

    @property
    def lake(self) -> Lake:
        """The Parquet lake."""
        return Lake(self.home.lake(self.config.name))

    @property
    def words(self) -> Words:
        """What the problem and the target call things."""
        return words_of(self.config.problem, self.config.target)

    @property
    def boards(self) -> dict[str, LeaderboardSpec]:
        """The leaderboards by the names of their tables, the widest level first."""
        return {f"{spec.level}_leaderboard": spec for spec in BOARDS[self.config.problem]}

    @property
    def value_segments(self) -> tuple[str, ...]:
        """Nested segments whose mean values may be learned, the parent first."""
        first, *others = self.boards.values()
        nested = [spec.id_columns for spec in others if spec.id_columns[0] == first.segment]
        return nested[0] if nested else first.id_columns

    @property
    def shared_lake(self) -> Lake:
        """The lake of the tables that the targets of one file share."""
        return Lake(self.home.lake(self.config.shared_name))

    @property
    def has_outcomes(self) -> bool:
        """Whether anything tells what became of a row."""
        return self.config.paths.outcomes_path is not None

    @property
    def label_reach_days(self) -> int:
        """Days after a row within which its label is decided: its window, and how late that may begin."""
        return self.config.label_window_days

    @property
    def first_day(self) -> date:
        """First day of the partition calendar.

        Raises:
            ElvError: the configuration was never registered, so its calendar is not fixed yet.
        """
        if self.config.start_date is None:
            raise ElvError(
                f"{self.name}: the calendar is not fixed yet. Run an elv command with --config once, or set start_date."
            )
        return self.config.start_date

    def midnight(self, day: date) -> datetime:
        """Start of a local day, in UTC."""
        return datetime.combine(day, time(), tzinfo=self.config.zone).astimezone(UTC)

    def source(self, table: str) -> dict[str, Any]:
        """What ingestion noted about a source: file, digest, rows, days, newest moment, id columns.

        Raises:
            ElvError: the table was never ingested.
        """
        found = self.lake.read_json(f"sources/{table}")
        if found is None:
            raise ElvError(f"{self.name}: {table} has not been ingested yet. Run 'elv build-table' first.")
        return dict(found)

    def observation(self, *, origin: datetime | None = None) -> Observation:
        """What could be known of outcomes, now or as of a training origin."""
        start = self.config.observed_from_moment
        return Observation(
            window_days=self.config.label_window_days,
            observed_from=start.astimezone(UTC) if start else None,
            observed_until=self.observed_until(),
            origin=origin,
            reach_days=self.label_reach_days,
        )

    def scan(self, table: str, *, first: date, last: date) -> pl.LazyFrame:
        """Rows of a table for the days that exist between two days."""
        return self.lake.scan_days(
            table,
            first=first,
            last=last,
            schema=dict(self.raw_schemas[table]) if table in self.raw_schemas else None,
            grown=table in (*SCORED, *self.boards),
        )

    def scan_once_a_lead(self, table: str, *, first: date, last: date) -> pl.LazyFrame:
        """Rows of a table that has one row a lead.

        Raises:
            ElvError: a lead stands in two partitions, because the export moved it and only one was refreshed.
        """
        rows = self.scan(table, first=first, last=last)
        days = rows.group_by("lead_id").agg(pl.col("day").sort(), rows=pl.len()).filter(pl.col("rows") > 1)
        moved = days.sort("lead_id").collect()
        if moved.height:
            places = sorted({day for row in moved["day"].to_list() for day in row})
            raise ElvError(
                f"{table}: lead {moved['lead_id'][0]} stands in the days {' and '.join(map(str, moved['day'][0]))} "
                f"({moved.height} such lead(s)); a lead has one row. The export has moved it since: materialise the "
                f"raw tables and {table} from {places[0]} to {places[-1]} again ('elv build-table' does)."
            )
        return rows

    def require_history(self, tables: Sequence[str], *, first: date, last: date) -> None:
        """Fail unless the tables are materialised from ``first`` (or the calendar's start) to ``last``."""
        start = max(first, self.first_day)
        for table in tables:
            self.lake.require_days(table, days_between(start, last))

    def provisional_days(self, tables: Sequence[str]) -> list[date]:
        """Days that were written empty because the export did not reach them yet."""
        found = {day for table in tables for day in self.lake.read_json(f"provisional/{table}") or []}
        return sorted(date.fromisoformat(day) for day in found)

    def note_provisional(self, table: str, *, days: Sequence[date], provisional: Sequence[date]) -> None:
        """Remember which of the days just written are provisional."""
        others = set(self.provisional_days([table])) - set(days)
        self.lake.write_json(f"provisional/{table}", sorted(str(day) for day in others | set(provisional)))

    def require_recipe(self, *, rewritten: Sequence[date] = ()) -> None:
        """Fail if features outside the days about to be rewritten follow another recipe, or a rebuild was cut short.

        Column names do not show the lag: without this, half a table could silently mean something else.

        Raises:
            ElvError: naming what changed.
        """
        known, wanted = self.lake.read_json("recipes/features"), self.recipe()
        others = set(self.lake.days("features")) - set(rewritten)
        if known is None or known == wanted or not others:
            return
        changed = [key for key, value in wanted.items() if known.get(key) != value and key != "complete"]
        why = (
            f"were computed with another configuration ({', '.join(_was(key, known) for key in changed)})"
            if changed
            else "were being rebuilt when the run was cut short"
        )
        raise ElvError(
            f"{self.name}: {len(others)} day(s) of features {why}. Run 'elv build-table' to compute the whole table "
            f"with the present configuration."
        )

    def note_recipe(self, *, complete: bool) -> None:
        """Remember what the features are computed with; incomplete while a table is being replaced."""
        if complete or self.lake.read_json("recipes/features") != self.recipe():
            self.lake.write_json("recipes/features", {**self.recipe(), "complete": complete})

    def summary_start(self, last: date) -> date:
        """First day of the leads that a report up to ``last`` counts; a daily report must not cost the whole past."""
        return max(last - timedelta(days=SUMMARY_DAYS), self.first_day)

    @property
    @abstractmethod
    def raw_tables(self) -> list[str]:
        """Assets before the joined rows, in the order of a run."""

    @property
    @abstractmethod
    def counted_tables(self) -> list[str]:
        """Daily tables whose rows tell whether a day is complete."""

    @property
    def provisional_tables(self) -> list[str]:
        """Those of them that end where their export does, so that a day without rows may still get some."""
        return [table for table in self.counted_tables if table != "outcomes"]

    @property
    @abstractmethod
    def sources(self) -> dict[str, dict[str, Any]]:
        """What was noted of each export that has to be fresh, by table; empty where it was never read."""

    @property
    @abstractmethod
    def label_sources(self) -> Mapping[str, Window | None]:
        """Tables beside the joined rows that labels are made of, and which of their days."""

    @property
    @abstractmethod
    def feature_sources(self) -> Mapping[str, Window | None]:
        """Tables that features are made of, and which of their days."""

    @property
    @abstractmethod
    def needed_days(self) -> list[str]:
        """Those of them of which every day from ``history_start`` on must be there."""

    @abstractmethod
    def data(self) -> DataAtHand:
        """Which optional parts exist; needs the exports to have been read once."""

    @abstractmethod
    def is_ingested(self) -> bool:
        """Whether the exports have been read once."""

    @abstractmethod
    def observed_until(self) -> datetime:
        """Moment up to which outcomes are known."""

    @abstractmethod
    def label_times(self, rows: pl.LazyFrame, *, first: date, observed_until: datetime) -> pl.LazyFrame:
        """When the outcome of each row happened and was recorded; see ``tables.labels.label_times``.

        Args:
            rows: ``lead_id`` (unique), ``created_time``, ``day``.
            first: no row is of an earlier day.
            observed_until: how far outcomes are known in the lake.
        """

    @abstractmethod
    def labels_horizon(self, first: date) -> datetime:
        """How far outcomes are known in the lake for rows from ``first`` on."""

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """Everything that decides what a feature means beyond its name."""

    @abstractmethod
    def history_start(self, day: date) -> date:
        """First day that features of ``day`` may read."""

    @abstractmethod
    def computed_features(self, rows: pl.LazyFrame, *, first: date, last: date) -> AbstractContextManager[pl.LazyFrame]:
        """The features of a run's days; to be read inside the block.

        Args:
            rows: joined rows to compute features for.
            first: oldest local day among them.
            last: newest local day among them.
        """

    def delivery(self, since: object) -> pl.DataFrame | None:
        """Rows of what leads cost, with their ids and names, from shortly before a day on; None where nothing tells."""
        return None

    @abstractmethod
    def segment_names(self, spec: LeaderboardSpec, delivery: pl.DataFrame | None) -> pl.DataFrame | None:
        """Names of the segments of a board, by their ids; None where they have none.

        Args:
            spec: the board.
            delivery: see ``delivery``.
        """

    @abstractmethod
    def join_summary(self, joined: pl.DataFrame) -> dict[str, Any]:
        """How rows were joined, for reports."""

    @abstractmethod
    def absences(self) -> list[str]:
        """What the outputs cannot contain because an export is not configured, in sentences for people."""

    @abstractmethod
    def source_rows(self) -> dict[str, int]:
        """Rows of each configured export."""


def _was(key: str, known: Mapping[str, Any]) -> str:
    return key if isinstance(known.get(key), list | dict) else f"{key} was {known.get(key)}"
