"""A configuration of outreach in one home: the cleaned tables, the moments, and what becomes of them.

Belongs here: what the assets of this problem need to find and read its tables. Does not belong here: what holds for
every problem (``deployment.py``), Dagster types, or computation on rows.

The cleaned tables, the moments and their features belong to all targets of a file; each target has its own rows (the
moments at which it can still be won), labels, models and scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import polars as pl

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.decisions.leaderboards import LeaderboardSpec
from elv_pipeline.errors import ElvError
from elv_pipeline.lake import days_between
from elv_pipeline.orchestration.day_windows import Window
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.problems.event_specs import AnchoredTarget
from elv_pipeline.problems.outreach import OUTREACH, data_at_hand, target_of
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.tables.anchored_labels import labels_of_moments
from elv_pipeline.tables.element_history import ObservedSpan
from elv_pipeline.tables.event_features import EventInputs
from elv_pipeline.tables.moment_features import moment_features

CLEAN = "outreach_tables"
MOMENTS = "moments"
MOMENT_FEATURES = "moment_features"
UNOBSERVED = "unobserved"
"""Cleaned table of the enrollments of which an outcome was dropped as contradictory."""


@dataclass(frozen=True)
class OutreachDeployment(Deployment):
    """See ``Deployment``; rows are moments of enrollments."""

    problem: ClassVar[ScoringProblem] = OUTREACH
    rows_table: ClassVar[str] = "joined_leads"
    shared_tables: ClassVar[frozenset[str]] = frozenset({"extracts", CLEAN, MOMENTS, MOMENT_FEATURES})
    read_first: ClassVar[tuple[str, ...]] = (CLEAN,)
    called: ClassVar[Mapping[str, str]] = {"joined_leads": "scored_moments", **dict.fromkeys(CANONICAL, CLEAN)}

    @property
    def target(self) -> AnchoredTarget:
        """What is predicted of a moment."""
        return target_of(self.config)

    @property
    def label_reach_days(self) -> int:
        """See ``Deployment``."""
        return self.target.reach_days

    @property
    def raw_tables(self) -> list[str]:
        """See ``Deployment``."""
        return [CLEAN, MOMENTS, MOMENT_FEATURES]

    @property
    def counted_tables(self) -> list[str]:
        """See ``Deployment``."""
        return ["joined_leads"]

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """See ``Deployment``: the tables that grow every day."""
        tables = self.document()["tables"] if self.is_ingested() else {}
        return {name: dict(tables.get(name, {})) for name in ("enrollments", "engagement_logs")}

    @property
    def label_sources(self) -> Mapping[str, Window | None]:
        """See ``Deployment``."""
        return {CLEAN: None}

    @property
    def feature_sources(self) -> Mapping[str, Window | None]:
        """See ``Deployment``."""
        return {"joined_leads": None, MOMENT_FEATURES: None}

    @property
    def needed_days(self) -> list[str]:
        """See ``Deployment``."""
        return ["joined_leads"]

    def document(self) -> dict[str, Any]:
        """What was noted of the cleaned tables.

        Raises:
            ElvError: nothing was read yet.
        """
        found = self.shared_lake.read_json(CLEAN)
        if found is None:
            raise ElvError(f"{self.name}: the exports have not been read yet. Run 'elv build-table' first.")
        return dict(found)

    def clean(self, table: str) -> pl.LazyFrame:
        """One cleaned table."""
        found = self.shared_lake.read_frame(f"{CLEAN}/{self.document()['version']}/{table}")
        if found is None:
            raise ElvError(f"{self.name}: the cleaned table {table} is gone. Run 'elv build-table'.")
        return found.lazy()

    def is_ingested(self) -> bool:
        """See ``Deployment``."""
        return self.shared_lake.read_json(CLEAN) is not None

    def source(self, table: str) -> dict[str, Any]:
        """See ``Deployment``."""
        return dict(self.document()["tables"][table])

    def data(self) -> DataAtHand:
        """See ``Deployment``."""
        return data_at_hand(self.config)

    def observed_until(self) -> datetime:
        """See ``Deployment``: the newest moment that any table tells of."""
        newest = [table["newest_moment"] for table in self.document()["tables"].values() if table["newest_moment"]]
        if not newest:
            raise ElvError(f"{self.name}: no table holds a time. Check enrollments and engagement_logs.")
        return self.config.observed_until_of(max(datetime.fromisoformat(moment) for moment in newest))

    def moments_until(self) -> datetime:
        """How far moments are made: as far as the record reaches, and to the end of that local day once it is over.

        The newest event of an export that was taken in the morning lies before midnight; the evening is over all the
        same, and enrollments are scored anew at its end.
        """
        until = self.observed_until()
        if self.config.observed_until_moment is not None:
            return until
        end = self.midnight(until.astimezone(self.config.zone).date() + timedelta(days=1))
        return end if end <= datetime.now(UTC) else until

    def label_times(self, rows: pl.LazyFrame, *, first: date, observed_until: datetime) -> pl.LazyFrame:
        """See ``Deployment``; with the anchor of each row's window."""
        named = {"lead_id": "moment_id", "created_time": "prediction_time"}
        moments = rows.select("lead_id", "enrollment_id", "created_time", "day").rename(named)
        return labels_of_moments(
            moments,
            self.clean("engagement_logs"),
            self.clean("outcomes") if self.has_outcomes else None,
            target=self.target,
            observed_until=observed_until,
            unobserved=self.clean(UNOBSERVED).collect()["enrollment_id"].to_list(),
        )

    def labels_horizon(self, first: date) -> datetime:
        """See ``Deployment``: cleaned tables hold all that is known."""
        return self.observed_until()

    def recipe(self) -> dict[str, Any]:
        """See ``Deployment``."""
        columns = self.problem.feature_columns(self.data(), lag_days=self.config.feature_lag_days)
        return {
            "observed_from": str(self.config.observed_from),
            "moments": self.config.moments.model_dump(mode="json"),
            "contracts": self.config.contracts.model_dump(mode="json"),
            "columns": [column.name for column in columns],
            "complete": True,
        }

    def history_start(self, day: date) -> date:
        """See ``Deployment``: a day's features are made of the cleaned tables and its own moments."""
        return max(day, self.first_day)

    @contextmanager
    def computed_features(self, rows: pl.LazyFrame, *, first: date, last: date) -> Iterator[pl.LazyFrame]:
        """See ``Deployment``: the features of all moments, for those that the target scores."""
        self.shared_lake.require_days(MOMENT_FEATURES, days_between(first, last))
        shared = self.shared_lake.scan_days(MOMENT_FEATURES, first=first, last=last)
        yield shared.join(rows.select("lead_id"), on="lead_id", how="semi", maintain_order="left")

    def event_inputs(self, moments: pl.LazyFrame) -> EventInputs:
        """What features of moments are made of."""
        start = self.config.observed_from_moment
        return EventInputs(
            moments=moments,
            enrollments=self.clean("enrollments"),
            steps=self.clean("campaign_steps"),
            events=self.clean("engagement_logs"),
            outcomes=self.clean("outcomes") if self.has_outcomes else None,
            span=ObservedSpan(
                observed_from=start.astimezone(UTC) if start else None, observed_until=self.observed_until()
            ),
        )

    def moment_features(self, moments: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """Features of moments, in batches; see ``tables.moment_features``."""
        return moment_features(
            self.event_inputs(moments),
            contacts=self.clean("contacts"),
            problem=self.problem,
            data=self.data(),
            timezone=self.config.timezone,
        )

    def segment_names(self, spec: LeaderboardSpec, delivery: pl.DataFrame | None) -> pl.DataFrame | None:
        """See ``Deployment``: campaigns by their names, steps by place and channel."""
        campaigns = self.clean("campaigns").select("campaign_id", "campaign_name").collect()
        if "step_id" not in spec.id_columns:
            return campaigns
        order = ("valid_from", "recorded_time", "position", "channel")
        newest = self.clean("campaign_steps").sort(order, nulls_last=False)
        name = pl.format("Step {}, {}", "position", "channel").alias("step_name")
        steps = newest.unique("step_id", keep="last", maintain_order=True).select("campaign_id", "step_id", name)
        return steps.collect().join(campaigns, on="campaign_id", how="left", validate="m:1")

    def join_summary(self, joined: pl.DataFrame) -> dict[str, Any]:
        """See ``Deployment``: every moment comes of an enrollment, whose ids the cleaning has checked."""
        positions = joined["step_id"].is_null().sum()
        return {
            "leads": joined.height,
            "by_method": {"enrollment": joined.height},
            "at_enrollment": int(positions),
            "enrollments": joined["enrollment_id"].n_unique(),
        }

    def absences(self) -> list[str]:
        """See ``Deployment``."""
        if self.has_outcomes:
            return []
        return ["No outcomes export is configured (paths.outcomes_path): no moment is labelled."]

    def source_rows(self) -> dict[str, int]:
        """See ``Deployment``."""
        return {table: int(noted["rows"]) for table, noted in self.document()["tables"].items()}
