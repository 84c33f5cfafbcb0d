"""A company's databases that fill up as simulated days pass: a CRM with its leads and outcomes, and daily ad delivery.

Belongs here: tables, rows and the moment at which each row is there. Does not belong here: the pipeline that reads
them, or what goes wrong with them (``simulated_life.py``).

The tables are those that the queries in ``sql/extract/`` read as they are shipped, personal data included.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.synthetic.advertiser import Advertiser, AdvertiserSpec, generate
from elv_pipeline_tests.databases.servers import PostgresDatabase

SPEC = AdvertiserSpec(
    leads=3_500,
    days=115,
    campaigns=6,
    adsets_per_campaign=2,
    ads_per_adset=2,
    base_rate=0.15,
    outcome_window_days=7,
    seed=3,
    timezone="Europe/Berlin",
)
"""About thirty leads a day; its first day is a Monday."""
EVENING = 17
"""Hour from which on leads are late where some of a day are. Windows count leads up to the lead in question, so that
those before it are told the same whether its like have arrived or not."""
DRIFTED_PLATFORM = "messenger"
"""A platform that nobody had ever seen before the planted drift."""
TABLES = (
    "CREATE SCHEMA crm",
    "CREATE SCHEMA marketing",
    """CREATE TABLE crm.leads (
        id text PRIMARY KEY, created_at timestamptz NOT NULL, meta_ad_id text, meta_adset_id text,
        meta_campaign_id text, platform text, full_name text, email text, phone_number text,
        is_test boolean NOT NULL DEFAULT false)""",
    """CREATE TABLE crm.lead_status_history (
        lead_id text NOT NULL, changed_at timestamptz NOT NULL, inserted_at timestamptz NOT NULL,
        new_status text NOT NULL, deal_value numeric(12, 2))""",
    """CREATE TABLE marketing.ad_daily_stats (
        stat_date date NOT NULL, campaign_id text, campaign_name text, adset_id text, adset_name text, ad_id text,
        ad_name text, impressions bigint, link_clicks bigint, amount_spent numeric(12, 2),
        PRIMARY KEY (stat_date, ad_id))""",
)
_PERSONAL = ("full_name", "email", "phone_number")


@dataclass(frozen=True, kw_only=True)
class SimulatedSource:
    """What the company's systems will ever hold, with the moment at which each row appears.

    Attributes:
        spec: of the advertiser.
        drifts_on: first day of the planted drift; None for none.
    """

    spec: AdvertiserSpec = SPEC
    drifts_on: date | None = None

    def day(self, index: int) -> date:
        """A day of the advertiser's calendar."""
        return self.spec.start_date + timedelta(days=index)

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the company."""
        return ZoneInfo(self.spec.timezone)

    @cached_property
    def advertiser(self) -> Advertiser:
        """Every row there will ever be."""
        return generate(self.spec)

    @cached_property
    def leads(self) -> pl.DataFrame:
        """``crm.leads`` with ``visible_at``: the CRM knows a lead when it is created."""
        leads = self.advertiser.leads.with_columns(visible_at=pl.col("created_time"))
        if self.drifts_on is None:
            return leads
        since = datetime.combine(self.drifts_on, time(), tzinfo=self.zone).astimezone(UTC)
        # Two in three leads come from a new platform, whose forms have lost the ids of their ads.
        moved = (pl.col("created_time") >= since) & (pl.col("lead_id").str.slice(-2).cast(pl.Int64) % 3 > 0)
        return leads.with_columns(
            pl.when(moved).then(pl.lit(DRIFTED_PLATFORM)).otherwise("platform").alias("platform"),
            *(pl.when(~moved).then(name).alias(name) for name in ("ad_id", "adset_id", "campaign_id")),
        )

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """``crm.lead_status_history`` with ``visible_at``: written down up to 30 hours after it happened."""
        hours = pl.col("lead_id").str.slice(-3).cast(pl.Int64) % 31
        found = self.advertiser.outcomes.drop_nulls("qualified_time")
        return found.with_columns(visible_at=pl.col("qualified_time") + pl.duration(hours=hours))

    @cached_property
    def ads(self) -> pl.DataFrame:
        """``marketing.ad_daily_stats`` with ``visible_at``: three in the morning of the next day."""
        next_morning = pl.col("date").cast(pl.Datetime("us", "UTC")) + pl.duration(days=1, hours=3)
        return self.advertiser.ads.with_columns(visible_at=next_morning)


@dataclass
class SourceDatabase:
    """The source in PostgreSQL. ``fill`` brings it to a moment; ``withhold`` keeps rows back until ``deliver``."""

    source: SimulatedSource
    database: PostgresDatabase
    reader: str = ""
    filled_to: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    withheld: list[tuple[str, pl.DataFrame]] = field(default_factory=list)

    @classmethod
    def create(cls, source: SimulatedSource, database: PostgresDatabase) -> SourceDatabase:
        """Make the tables, and the login that may read them and nothing else."""
        database.run(*TABLES)
        reader = database.role("reader")
        schemas = "crm, marketing"
        database.run(
            f"GRANT USAGE ON SCHEMA {schemas} TO {reader}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {reader}",
        )
        return cls(source=source, database=database, reader=reader)

    @property
    def url(self) -> str:
        """Address for the login of the extracts."""
        return self.database.url_of(self.reader).render_as_string(False)

    def fill(
        self,
        moment: datetime,
        *,
        without: Collection[str] = (),
        most_of: date | None = None,
        some_of: date | None = None,
    ) -> None:
        """Add every row that appears up to a moment.

        Args:
            moment: the present of the simulation.
            without: tables whose load of these rows did not run; ``deliver`` makes up for it.
            most_of: a day of which two in three leads are late.
            some_of: a day of which the evening is, which nobody can tell from a quiet day.
        """
        moment = moment.astimezone(UTC)
        for table in _COLUMNS:
            rows: pl.DataFrame = getattr(self.source, table)
            new = rows.filter(pl.col("visible_at").is_between(self.filled_to, moment, closed="right"))
            late = pl.lit(table in without)
            if table == "leads":
                position = pl.int_range(pl.len()) % 3 > 0
                local = pl.col("created_time").dt.convert_time_zone(self.source.spec.timezone)
                late = late | (position & (local.dt.date() == pl.lit(most_of)))
                late = (late | ((local.dt.hour() >= EVENING) & (local.dt.date() == pl.lit(some_of)))).fill_null(False)
            marked = new.with_columns(late=late)
            self._insert(table, marked.filter(~pl.col("late")).drop("late"))
            self.withheld.append((table, marked.filter("late").drop("late")))
        self.filled_to = moment

    def deliver(self) -> int:
        """Add the rows that were kept back; returns how many."""
        rows = sum(frame.height for _, frame in self.withheld)
        for table, frame in self.withheld:
            self._insert(table, frame)
        self.withheld.clear()
        return rows

    def allow_writing(self) -> None:
        """What must never happen: the login of the extracts may suddenly write."""
        self.database.run(f"GRANT INSERT, UPDATE ON crm.leads TO {self.reader}")

    def forbid_writing(self) -> None:
        """The administrator takes it back."""
        self.database.run(f"REVOKE INSERT, UPDATE ON crm.leads FROM {self.reader}")

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        import psycopg

        target, named = _COLUMNS[table]
        columns = {column: name for column, name in named.items() if column in rows.columns}
        frame = rows.select(*columns, *([pl.lit("qualified")] if table == "outcomes" else []))
        names = [*columns.values(), *(["new_status"] if table == "outcomes" else [])]
        url = self.database.url.set(drivername="postgresql").render_as_string(False)
        copy = f"COPY {target} ({', '.join(names)}) FROM STDIN"
        with psycopg.connect(url) as session, session.cursor() as cursor, cursor.copy(copy) as stream:
            for row in frame.iter_rows():
                stream.write_row(row)


_COLUMNS: dict[str, tuple[str, dict[str, str]]] = {
    "leads": (
        "crm.leads",
        {
            "lead_id": "id",
            "created_time": "created_at",
            "ad_id": "meta_ad_id",
            "adset_id": "meta_adset_id",
            "campaign_id": "meta_campaign_id",
            "platform": "platform",
            **{name: name for name in _PERSONAL},
        },
    ),
    "outcomes": (
        "crm.lead_status_history",
        {"lead_id": "lead_id", "qualified_time": "changed_at", "visible_at": "inserted_at"},
    ),
    "ads": (
        "marketing.ad_daily_stats",
        {
            **{name: name for name in ("campaign_id", "campaign_name", "adset_id", "adset_name", "ad_id", "ad_name")},
            "date": "stat_date",
            "impressions": "impressions",
            "clicks": "link_clicks",
            "spend": "amount_spent",
        },
    ),
}
