"""One configuration in one home: where its tables are, what its problem is, how far its data reach.

Belongs here: what every asset of a configuration needs to find its inputs. Does not belong here: Dagster types, or
computation on rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import polars as pl

from elv_pipeline.change_log import ChangeLog
from elv_pipeline.contracts.lead_ads import (
    ADS,
    ADS_CHANGES,
    ADS_GEO,
    ADS_PLACEMENT,
    LEADS,
    OUTCOMES,
)
from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.ingest.enrichment import ATTRIBUTES, BREAKDOWNS
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.problems.lead_ads import LEAD_ADS, data_at_hand
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.tables.features import KEY_COLUMNS, FeatureInputs, feature_table
from elv_pipeline.tables.joins import CARRIED, ID_COLUMNS
from elv_pipeline.tables.labels import OUTCOME_SCHEMA, Observation
from elv_pipeline.tables.outcome_history import OutcomeLog
from elv_pipeline.tables.version_store import VersionStore

PROBLEMS: Mapping[str, ScoringProblem] = {"lead_ads": LEAD_ADS}
SUMMARY_DAYS = 400
"""Days of leads behind the join and label counts of a report: a year and a month to compare it with."""
RAW_SCHEMAS = {contract.name: contract.schema for contract in (ADS, LEADS, OUTCOMES, ADS_PLACEMENT, ADS_GEO)}


PUBLISHED = ("predictions", "challenger_predictions", "campaign_leaderboard", "adset_leaderboard")
"""Tables that are not computed anew for days that were published; a newer version may have added columns."""


@dataclass(frozen=True)
class Deployment:
    """A configuration with its home. Cheap to make; reads nothing until asked."""

    config: PipelineConfig
    home: Home

    @property
    def name(self) -> str:
        """Prefix of the asset keys."""
        return self.config.name

    @property
    def lake(self) -> Lake:
        """The Parquet lake."""
        return Lake(self.home.lake(self.config.name))

    @property
    def ads_store(self) -> VersionStore:
        """First figures and restatements of the ads export."""
        log = ChangeLog(self.lake.root / ADS_CHANGES.name, ADS_CHANGES.schema)
        return VersionStore(lake=self.lake, log=log, contract=ADS, ids=("campaign_id", "adset_id", "ad_id"))

    def breakdown_store(self, table: str) -> VersionStore:
        """First figures and restatements of a breakdown export."""
        _, contract = BREAKDOWNS[table]
        dimension = contract.key[2]
        log = ChangeLog(self.lake.root / f"{table}_changes", contract.schema)
        return VersionStore(lake=self.lake, log=log, contract=contract, ids=("ad_id", dimension))

    @property
    def problem(self) -> ScoringProblem:
        """The declaration of what is scored."""
        return PROBLEMS[self.config.problem]

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

    def data(self) -> DataAtHand:
        """Which optional parts exist; needs the leads to have been ingested once.

        Raises:
            ElvError: no leads yet.
        """
        leads = self.source("leads")
        return data_at_hand(
            self.config,
            lead_id_columns=tuple(leads["id_columns"]),
            lead_attributes=tuple(leads.get("attributes", ())),
        )

    def source(self, table: str) -> dict[str, Any]:
        """What ingestion noted about a source: file, digest, rows, days, newest moment, id columns.

        Raises:
            ElvError: the table was never ingested.
        """
        found = self.lake.read_json(f"sources/{table}")
        if found is None:
            raise ElvError(f"{self.name}: {table} has not been ingested yet. Run 'elv build-table' first.")
        return dict(found)

    def observed_until(self) -> datetime:
        """Moment up to which outcomes are known: configured, or the newest moment in leads and outcomes.

        Of extracted outcomes it is known how far they reach; leads that were read later say nothing about them.
        """
        extracted = "outcomes" in self.config.extracts.queries
        tables = ["outcomes"] if extracted else ["leads", *(["outcomes"] if self.config.paths.outcomes_path else [])]
        moments = [self.source(table)["newest_moment"] for table in tables]
        newest = max(datetime.fromisoformat(moment) for moment in moments if moment is not None)
        return self.config.observed_until_of(newest)

    def observation(self, *, origin: datetime | None = None) -> Observation:
        """What could be known of outcomes, now or as of a training origin."""
        start = self.config.observed_from_moment
        return Observation(
            window_days=self.config.label_window_days,
            observed_from=start.astimezone(UTC) if start else None,
            observed_until=self.observed_until(),
            origin=origin,
        )

    def scan(self, table: str, *, first: date, last: date) -> pl.LazyFrame:
        """Rows of a table for the days that exist between two days."""
        return self.lake.scan_days(
            table, first=first, last=last, schema=RAW_SCHEMAS.get(table), grown=table in PUBLISHED
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

    def recipe(self) -> dict[str, Any]:
        """Everything that decides what a feature means beyond its name."""
        config = self.config
        columns = self.problem.feature_columns(self.data(), lag_days=config.feature_lag_days)
        return {
            "feature_lag_days": config.feature_lag_days,
            "label_window_days": config.label_window_days,
            "observed_from": str(config.observed_from),
            "hierarchy_lookback_days": self.problem.hierarchy_lookback_days,
            "contracts": config.contracts.model_dump(mode="json"),
            "columns": [column.name for column in columns],
            "complete": True,
        }

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

    def hierarchy_start(self, day: object) -> date:
        """First day from which the ads export may place leads in its hierarchy; ``day``: their oldest, None without."""
        reach = timedelta(days=self.problem.hierarchy_lookback_days + self.config.feature_lag_days)
        return max(day - reach, self.first_day) if isinstance(day, date) else self.first_day

    def summary_start(self, last: date) -> date:
        """First day of the leads that a report up to ``last`` counts; a daily report must not cost the whole past."""
        return max(last - timedelta(days=SUMMARY_DAYS), self.first_day)

    def history_start(self, day: date) -> date:
        """First day that features of ``day`` may read."""
        span = self.problem.history_days(
            outcome_window_days=self.config.label_window_days, lag_days=self.config.feature_lag_days
        )
        return max(day - timedelta(days=span), self.first_day)

    def features(
        self, leads: pl.LazyFrame, *, first: date, last: date, extra: pl.LazyFrame | None = None
    ) -> pl.LazyFrame:
        """The feature plan for leads of the days ``first`` to ``last``.

        Args:
            leads: joined leads to compute features for.
            first: oldest local day among them.
            last: newest local day among them.
            extra: further joined leads that count as volume before others but whose outcomes nobody looked for.
        """
        return feature_table(self._inputs(leads, first=first, last=last, extra=extra), **self._plan())

    @contextmanager
    def computed_features(self, leads: pl.LazyFrame, *, first: date, last: date) -> Iterator[pl.LazyFrame]:
        """The features of a run's days, on the configured engine; to be read inside the block.

        Args:
            leads: joined leads to compute features for.
            first: oldest local day among them.
            last: newest local day among them.
        """
        if self.config.engine == "polars":
            yield self.features(leads, first=first, last=last)
            return
        from elv_pipeline.tables.spark_engine import spark_feature_table

        staging, spark = self.home.root / "spark" / uuid4().hex, self.config.spark
        try:
            yield spark_feature_table(
                self._inputs(leads, first=first, last=last),
                **self._plan(),
                master=spark.master,
                buckets=spark.buckets,
                staging=staging,
            )
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _plan(self) -> dict[str, Any]:
        """The arguments of ``feature_table`` beside its inputs."""
        return {
            "problem": self.problem,
            "data": self.data(),
            "lag_days": self.config.feature_lag_days,
            "log": self._outcome_log() if self.config.paths.outcomes_path is not None else None,
            "timezone": self.config.timezone,
        }

    def _inputs(
        self, leads: pl.LazyFrame, *, first: date, last: date, extra: pl.LazyFrame | None = None
    ) -> FeatureInputs:
        start = self.history_start(first)
        history = self._history(start, last, has_outcomes=self.config.paths.outcomes_path is not None)
        if extra is not None:
            known = history.select("lead_id")
            fresh = extra.join(known, on="lead_id", how="anti").select("lead_id", "created_time", *ID_COLUMNS)
            history = pl.concat([history, fresh.with_columns(_NEVER_LOOKED)], how="diagonal")
        return FeatureInputs(
            leads=leads.select(*KEY_COLUMNS, *CARRIED),
            ads=self.scan("ads", first=start, last=last) if self.config.paths.ads_path else None,
            history=history,
            base=self.midnight(start) - timedelta(days=2),
            changes=self._changes(self.ads_store, first, last) if self.config.paths.ads_path else None,
            **{
                f"{name}_changes": self._changes(self.breakdown_store(name), first, last)
                for name in BREAKDOWNS
                if name in self.data().enrichments
            },
            **self._enrichments(start, last),
        )

    def _changes(self, store: VersionStore, first: date, last: date) -> pl.LazyFrame | None:
        """Restatements of a table that leads of some days may know; None where there are none."""
        # A change of a day inside some window is recorded after that day, and counts only before the lead.
        reach = self.problem.longest_window + self.config.feature_lag_days
        since, until = self.midnight(first - timedelta(days=reach)), self.midnight(last + timedelta(days=1))
        found = store.log.scan(since=since, before=until)
        return found if found.select(pl.len()).collect().item() else None

    def _enrichments(self, first: date, last: date) -> dict[str, pl.LazyFrame]:
        """The optional tables that are configured."""
        tables = self.data().enrichments
        daily = {name: self.scan(name, first=first, last=last) for name in BREAKDOWNS if name in tables}
        static = {name: self._properties(name) for name in ATTRIBUTES if name in tables}
        return {**daily, **static}

    def _properties(self, table: str) -> pl.LazyFrame:
        found = self.lake.read_frame(table)
        if found is None:
            raise ElvError(f"{self.name}: {table} has not been ingested yet. Run 'elv build-table' first.")
        return found.lazy()

    def _outcome_log(self) -> OutcomeLog:
        observation = self.observation()
        return OutcomeLog(
            window_days=observation.window_days,
            observed_from=observation.observed_from,
            # Leads that mature beyond the data are not failures; within the data this never excludes anything.
            observed_until=observation.observed_until,
        )

    def _history(self, start: date, last: date, *, has_outcomes: bool) -> pl.LazyFrame:
        joined = self.scan_once_a_lead("joined_leads", first=start, last=last).select(
            "lead_id", "created_time", *ID_COLUMNS
        )
        if not has_outcomes:
            return joined.with_columns(_NEVER_LOOKED)
        outcomes = self.scan_once_a_lead("outcomes", first=start, last=last).select(
            "lead_id",
            pl.col("qualified_time").alias("outcome_time"),
            pl.col("recorded_time").alias("outcome_recorded_time"),
            pl.col("withdrawn_time").alias("outcome_withdrawn_time"),
        )
        return joined.join(outcomes, on="lead_id", how="left", validate="1:1").with_columns(
            (~pl.col("lead_id").is_in(self.unobserved_leads())).alias("outcome_observed")
        )

    def unobserved_leads(self) -> list[str]:
        """Leads whose contradictory outcome was dropped at ingestion."""
        found = self.lake.read_frame("sources/unobserved_leads")
        return [] if found is None else found["lead_id"].to_list()


def _was(key: str, known: Mapping[str, Any]) -> str:
    return key if isinstance(known.get(key), list | dict) else f"{key} was {known.get(key)}"


_NEVER_LOOKED = [
    pl.lit(None, OUTCOME_SCHEMA["outcome_time"]).alias("outcome_time"),
    pl.lit(None, OUTCOME_SCHEMA["outcome_recorded_time"]).alias("outcome_recorded_time"),
    pl.lit(None, OUTCOME_SCHEMA["outcome_withdrawn_time"]).alias("outcome_withdrawn_time"),
    pl.lit(False).alias("outcome_observed"),
]
