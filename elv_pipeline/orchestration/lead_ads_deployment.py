"""A configuration of lead ads in one home: its exports, their history, and the feature plan over them.

Belongs here: what the assets of this problem need to find and read its tables. Does not belong here: what holds for
every problem (``deployment.py``), Dagster types, or computation on rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
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
from elv_pipeline.decisions.leaderboards import LeaderboardSpec, latest_names
from elv_pipeline.errors import ElvError
from elv_pipeline.ingest.enrichment import ATTRIBUTES, BREAKDOWNS
from elv_pipeline.orchestration.day_windows import Window
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.problems.lead_ads import LEAD_ADS, data_at_hand
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.settings_base import EXPORTS
from elv_pipeline.tables.features import FeatureInputs, feature_table
from elv_pipeline.tables.join_statistics import join_statistics
from elv_pipeline.tables.joins import CARRIED
from elv_pipeline.tables.labels import OUTCOME_SCHEMA, label_times
from elv_pipeline.tables.outcome_history import OutcomeLog
from elv_pipeline.tables.version_store import VersionStore


@dataclass(frozen=True)
class LeadAdsDeployment(Deployment):
    """See ``Deployment``; rows are leads."""

    problem: ClassVar[ScoringProblem] = LEAD_ADS
    rows_table: ClassVar[str] = "leads"
    raw_schemas: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        contract.name: contract.schema for contract in (ADS, LEADS, OUTCOMES, ADS_PLACEMENT, ADS_GEO)
    }

    @property
    def raw_tables(self) -> list[str]:
        """Assets before the joined rows, in the order of a run."""
        paths = self.config.paths
        return [table for table in EXPORTS["lead_ads"] if getattr(paths, f"{table}_path")]

    @property
    def counted_tables(self) -> list[str]:
        """See ``Deployment``."""
        return [table for table in ("leads", "ads", "outcomes") if table in self.raw_tables]

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """See ``Deployment``."""
        return {table: self.lake.read_json(f"sources/{table}") or {} for table in self.counted_tables}

    @property
    def label_sources(self) -> Mapping[str, Window | None]:
        """See ``Deployment``."""
        return {"outcomes": Window(0, self.config.label_window_days)} if self.has_outcomes else {}

    @property
    def feature_sources(self) -> Mapping[str, Window | None]:
        """See ``Deployment``."""
        config = self.config
        span = self.problem.history_days(outcome_window_days=config.label_window_days, lag_days=config.feature_lag_days)
        found: dict[str, Window | None] = {"joined_leads": Window(-span, 0)}
        if config.paths.ads_path:
            found["ads"] = Window(-span, -config.feature_lag_days)
        if config.paths.outcomes_path:
            found["outcomes"] = Window(-span, 0)
        for table in (*BREAKDOWNS, *ATTRIBUTES):
            if getattr(config.paths, f"{table}_path"):
                found[table] = Window(-span, -config.feature_lag_days) if table in BREAKDOWNS else None
        return found

    @property
    def needed_days(self) -> list[str]:
        """See ``Deployment``; days without ads are days without delivery."""
        return [table for table in self.feature_sources if table not in ("ads", *ATTRIBUTES)]

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

    def observed_until(self) -> datetime:
        """Moment up to which outcomes are known: configured, or the newest moment in leads and outcomes.

        Of extracted outcomes it is known how far they reach; leads that were read later say nothing about them.
        """
        extracted = "outcomes" in self.config.extracts.queries
        tables = ["outcomes"] if extracted else ["leads", *(["outcomes"] if self.config.paths.outcomes_path else [])]
        moments = [self.source(table)["newest_moment"] for table in tables]
        newest = max(datetime.fromisoformat(moment) for moment in moments if moment is not None)
        return self.config.observed_until_of(newest)

    def label_times(self, rows: pl.LazyFrame, *, first: date, observed_until: datetime) -> pl.LazyFrame:
        """When the outcome of each row happened and was recorded; see ``tables.labels.label_times``.

        Args:
            rows: ``lead_id`` (unique), ``created_time``, ``day``.
            first: no row is of an earlier day.
            observed_until: how far outcomes are known in the lake.
        """
        outcomes = self.scan_once_a_lead("outcomes", first=first, last=date.max) if self.has_outcomes else None
        return label_times(rows, outcomes, observed_until=observed_until, unobserved=self.unobserved_leads())

    def labels_horizon(self, first: date) -> datetime:
        """How far outcomes are known in the lake from ``first`` on: the data's reach, or the first day not there."""
        until = self.observed_until()
        if not self.has_outcomes:
            return until
        written = set(self.lake.days("outcomes"))
        day = first
        while day in written and self.midnight(day) <= until:
            day += timedelta(days=1)
        return min(until, self.midnight(day))

    def delivery(self, since: object) -> pl.DataFrame | None:
        """See ``Deployment``: every ads row as it is known now, restatements included."""
        if not self.config.paths.ads_path:
            return None
        return self.ads_store.newest(first=self.hierarchy_start(since), last=date.max).collect()

    def segment_names(self, spec: LeaderboardSpec, delivery: pl.DataFrame | None) -> pl.DataFrame | None:
        """See ``Deployment``: the newest name of each segment."""
        return None if delivery is None else latest_names(delivery, spec=spec)

    def join_summary(self, joined: pl.DataFrame) -> dict[str, Any]:
        """Join statistics against every id that the ads export has shown since shortly before the leads."""
        ads = None
        if self.config.paths.ads_path:
            first = self.hierarchy_start(joined["day"].min())
            shown = self.ads_store.newest(first=first, last=date.max)
            ads = shown.select(self.problem.id_columns).unique().collect()
        return join_statistics(joined, ads=ads)

    def absences(self) -> list[str]:
        """What the outputs cannot contain because an export is not configured, in sentences for people."""
        paths, found = self.config.paths, []
        if not paths.ads_path:
            found.append(
                "No ads export is configured (paths.ads_path): spend, ELV per spend, names of campaigns and ad sets, "
                "and all features of impressions, clicks and spend are absent."
            )
        if not paths.outcomes_path:
            found.append("No outcomes export is configured (paths.outcomes_path): no lead is labelled.")
        missing = [table for table in (*BREAKDOWNS, *ATTRIBUTES) if not getattr(paths, f"{table}_path")]
        if missing:
            found.append(f"Optional exports that are not configured: {', '.join(missing)}; their features are absent.")
        return found

    def source_rows(self) -> dict[str, int]:
        """Rows of each configured export that has days."""
        tables = [table for table in ("leads", "ads", "outcomes", *BREAKDOWNS) if table in self.raw_tables]
        return {table: int(self.source(table)["rows"]) for table in tables}

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

    def hierarchy_start(self, day: object) -> date:
        """First day from which the ads export may place leads in its hierarchy; ``day``: their oldest, None without."""
        reach = timedelta(days=self.problem.hierarchy_lookback_days + self.config.feature_lag_days)
        return max(day - reach, self.first_day) if isinstance(day, date) else self.first_day

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
            fresh = extra.join(known, on="lead_id", how="anti").select(
                "lead_id", "created_time", *self.problem.id_columns
            )
            history = pl.concat([history, fresh.with_columns(_NEVER_LOOKED)], how="diagonal")
        return FeatureInputs(
            leads=leads.select(*self.problem.key_columns, *CARRIED),
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
            "lead_id", "created_time", *self.problem.id_columns
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

    def is_ingested(self) -> bool:
        """Whether the exports have been read once."""
        return self.lake.read_json("sources/leads") is not None

    def unobserved_leads(self) -> list[str]:
        """Leads whose contradictory outcome was dropped at ingestion."""
        found = self.lake.read_frame("sources/unobserved_leads")
        return [] if found is None else found["lead_id"].to_list()


_NEVER_LOOKED = [
    pl.lit(None, OUTCOME_SCHEMA["outcome_time"]).alias("outcome_time"),
    pl.lit(None, OUTCOME_SCHEMA["outcome_recorded_time"]).alias("outcome_recorded_time"),
    pl.lit(None, OUTCOME_SCHEMA["outcome_withdrawn_time"]).alias("outcome_withdrawn_time"),
    pl.lit(False).alias("outcome_observed"),
]
