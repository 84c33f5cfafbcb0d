"""Small random advertisers that aim at the edges, and their conversion to the frames that the plans read.

Belongs here: rows as dictionaries, seeded builders, frames. Does not belong here: expectations (``reference.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from elv_pipeline.problems.feature_specs import (
    Attribute,
    Calendar,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    Ratio,
    WindowSum,
)
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.tables.features import FeatureInputs, feature_table
from elv_pipeline.tables.joins import join_leads
from elv_pipeline.tables.outcome_history import OutcomeLog

Row = dict[str, Any]
UTC_TIME = pl.Datetime("us", "UTC")
IDS = {"ad_id": pl.String, "adset_id": pl.String, "campaign_id": pl.String}
NAMES = {"ad_name": pl.String, "adset_name": pl.String, "campaign_name": pl.String}
MEASURES = {"impressions": pl.Int64, "clicks": pl.Int64, "spend_micros": pl.Int64}
ADS_SCHEMA = {"day": pl.Date, **IDS, **NAMES, **MEASURES}
PLACEMENT_SCHEMA = {"day": pl.Date, "ad_id": pl.String, "placement": pl.String, **MEASURES}
VERSION = {"valid_from": UTC_TIME, "recorded_at": UTC_TIME}
TARGETING_SCHEMA = {"adset_id": pl.String, "audience_keywords": pl.String, **VERSION}
CREATIVES_SCHEMA = {"ad_id": pl.String, "creative_type": pl.String, **VERSION}
LEADS_SCHEMA = {"lead_id": pl.String, "created_time": UTC_TIME, "day": pl.Date, **IDS, **NAMES, "platform": pl.String}
MAPPING_SCHEMA = {"lead_id": pl.String, **IDS}
OUTCOMES_SCHEMA = {"lead_id": pl.String, "qualified_time": UTC_TIME, "recorded_time": UTC_TIME}
OUTCOMES_SCHEMA |= {"withdrawn_time": UTC_TIME}
HISTORY_SCHEMA = {"lead_id": pl.String, "created_time": UTC_TIME, "day": pl.Date, **IDS}
HISTORY_SCHEMA |= {"outcome_time": UTC_TIME, "outcome_recorded_time": UTC_TIME, "outcome_withdrawn_time": UTC_TIME}
HISTORY_SCHEMA |= {"outcome_observed": pl.Boolean}
JOINED_SCHEMA = {"lead_id": pl.String, "created_time": UTC_TIME, "day": pl.Date, **IDS}
JOINED_SCHEMA |= {"join_method": pl.String, "platform": pl.String}

LEVELS = (
    Level(name="ad", key="ad_id"),
    Level(name="adset", key="adset_id"),
    Level(name="campaign", key="campaign_id"),
)
PROBLEM = ScoringProblem(
    name="tiny",
    entity="lead",
    entity_key="lead_id",
    prediction_time="created_time",
    outcome="the lead qualifies",
    levels=LEVELS,
    features=(
        WindowSum(
            table="ads",
            levels=LEVELS,
            measures=("impressions", "clicks", "spend_micros"),
            ratios=(
                Ratio(name="ctr", numerator="clicks", denominator="impressions"),
                Ratio(name="cpm", numerator="spend_micros", denominator="impressions", scale=1000.0),
            ),
            windows=(3, 4),
            active_measure="impressions",
            trend_measure="clicks",
        ),
        Mix(
            table="ads_placement",
            dimension="placement",
            key="ad_id",
            hierarchy="ads",
            levels=LEVELS,
            measures=("impressions", "clicks", "spend_micros"),
            share_measure="spend_micros",
            active_measure="impressions",
            windows=(2, 4),
        ),
        OutcomeHistory(levels=LEVELS, lookback_days=9, prior_leads=3),
        Calendar(parts=("weekday", "hour", "month_day")),
        Attribute(column="campaign_id", definition="Campaign"),
        Attribute(column="platform", definition="Platform"),
        KnownAttribute(table="ad_creatives", key="ad_id", column="creative_type", definition="Creative"),
        HashedTokens(table="adset_targeting", key="adset_id", column="audience_keywords", name="audience", buckets=4),
    ),
    hierarchy_lookback_days=6,
)
"""The same kinds of declarations as the real problem, with spans so short that small data cross every edge."""
WINDOW_DAYS = 3
LAG_DAYS = 1
ZONE = "Europe/Berlin"
DATA = DataAtHand(has_ads=True, has_outcomes=True, id_columns=("ad_id", "adset_id", "campaign_id"))
RICH = replace(
    DATA, lead_attributes=("platform",), enrichments=frozenset({"ads_placement", "adset_targeting", "ad_creatives"})
)
"""The same with every optional table."""
FIRST_DAY = date(2024, 3, 15)
"""Two weeks before the clocks change in Berlin."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class World:
    """One advertiser: the exports as rows, whose outcomes nobody looked for, and how far the outcome log reaches."""

    ads: tuple[Row, ...]
    leads: tuple[Row, ...]
    outcomes: tuple[Row, ...]
    mapping: tuple[Row, ...]
    unobserved: frozenset[str]
    log: OutcomeLog
    placement: tuple[Row, ...] = ()
    targeting: tuple[Row, ...] = ()
    creatives: tuple[Row, ...] = ()

    def enrichments(self) -> dict[str, pl.LazyFrame]:
        """The optional tables as the plan reads them."""
        return {
            "ads_placement": frame(self.placement, PLACEMENT_SCHEMA).lazy(),
            "adset_targeting": frame(self.targeting, TARGETING_SCHEMA).lazy(),
            "ad_creatives": frame(self.creatives, CREATIVES_SCHEMA).lazy(),
        }


def local_day(moment: datetime) -> date:
    """Day of a moment in the zone of the tests."""
    return moment.astimezone(ZoneInfo(ZONE)).date()


def random_world(seed: int, *, leads: int = 60, days: int = 24, window_days: int = WINDOW_DAYS) -> World:
    """A seeded world: ids that share prefixes, leads at identical moments, outcomes on every edge of the window."""
    rng = np.random.default_rng(seed)
    rows = _leads(rng, leads, days)
    outcomes = [outcome for lead in rows if (outcome := _outcome(rng, lead, window_days))]
    last = max((row["created_time"] for row in rows), default=datetime.combine(FIRST_DAY, time(), UTC))
    log = OutcomeLog(
        window_days=window_days,
        observed_from=[None, datetime.combine(FIRST_DAY + timedelta(days=4), time(), UTC)][rng.integers(2)],
        observed_until=[None, last - timedelta(days=2), last + timedelta(days=30)][rng.integers(3)],
    )
    return World(
        ads=tuple(_ads(rng, days)),
        leads=tuple(rows),
        outcomes=tuple(outcomes),
        mapping=_mapping(rng, rows),
        unobserved=frozenset(row["lead_id"] for row in rows if rng.random() < 0.05),
        log=log,
        placement=tuple(_placement(np.random.default_rng(seed), days)),
        targeting=tuple(_versions(np.random.default_rng(seed + 50), days, "adset_id", "audience_keywords", KEYWORDS)),
        creatives=tuple(_versions(np.random.default_rng(seed + 90), days, "ad_id", "creative_type", CREATIVES)),
    )


KEYWORDS = ("Running|Shoes", "running; shoes;SHOES ", "Golf,\nTennis", "", None, "Ⅷ | Golf")
CREATIVES = ("Image", " image", "Video", None)
IDS_OF = {"adset_id": ("s", "s1", "s10", "absent"), "ad_id": ("a", "a1", "a11", "b")}


def _versions(rng: np.random.Generator, days: int, key: str, column: str, values: Sequence[Any]) -> list[Row]:
    """Properties whose versions overlap, arrive late, tie, or have no times at all."""
    start = datetime.combine(FIRST_DAY, time(), UTC)
    rows = []
    for name in IDS_OF[key]:
        for _ in range(int(rng.integers(1, 5))):
            times = [start + timedelta(days=int(rng.integers(days))) if rng.random() < 0.7 else None for _ in range(2)]
            version = {"valid_from": times[0], "recorded_at": times[1]}
            rows.append({key: name, column: _pick(rng, values), **version})
    return [rows[int(i)] for i in rng.permutation(len(rows))]


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _ads(rng: np.random.Generator, days: int) -> list[Row]:
    parents = {"a": ("s", "c"), "a1": ("s", "c"), "a10": ("s1", "c"), "a11": ("s1", "c"), "b": ("s10", "c1")}
    rows = []
    # Some rows lie before any lead's lookback, and some days have none at all.
    for offset in range(-12, days + 3):
        for ad, (adset, campaign) in parents.items():
            if rng.random() < 0.45 or offset % 7 == 3:
                continue
            moved = ad == "a11" and offset > days // 2
            rows.append(
                {
                    "day": FIRST_DAY + timedelta(days=offset),
                    "ad_id": ad,
                    "adset_id": "s10" if moved else adset,
                    "campaign_id": "c1" if moved else campaign,
                    "impressions": int(rng.integers(0, 4)) * 100,
                    "clicks": int(rng.integers(0, 6)),
                    "spend_micros": int(rng.integers(0, 10**9)) * int(rng.integers(0, 2)) + int(rng.integers(0, 3)),
                }
            )
    return [rows[int(i)] for i in rng.permutation(len(rows))]


def _placement(rng: np.random.Generator, days: int) -> list[Row]:
    """Delivery by placement, drawn apart from the ads rows: some days have only the one or the other."""
    rows = []
    for offset in range(-12, days + 3):
        for ad in ("a", "a1", "a10", "a11", "b", "unlisted"):
            for placement in ("feed", "story", "reels", "search", "f"):
                if rng.random() < 0.65:
                    continue
                measures = {
                    "impressions": int(rng.integers(0, 3)) * 70,
                    "clicks": int(rng.integers(0, 4)),
                    "spend_micros": int(rng.integers(0, 10**9)) * int(rng.integers(0, 2)) + int(rng.integers(0, 2)),
                }
                day = FIRST_DAY + timedelta(days=offset)
                rows.append({"day": day, "ad_id": ad, "placement": placement, **measures})
    return [rows[int(i)] for i in rng.permutation(len(rows))]


def _leads(rng: np.random.Generator, count: int, days: int) -> list[Row]:
    rows: list[Row] = []
    start = datetime.combine(FIRST_DAY, time(), UTC)
    for number in range(count):
        moment = start + timedelta(seconds=int(rng.integers(days * 86_400)), microseconds=int(rng.integers(10**6)))
        if rng.random() < 0.25:  # midnight in UTC or a whole hour: the edge of a day, shared by several leads
            moment = start + timedelta(hours=int(rng.integers(days)) * 24 - int(rng.integers(3)))
        if rows and rng.random() < 0.25:  # the moment of another lead, exactly or a microsecond or millisecond away
            shift = _pick(rng, [0, 0, 1, -1, 1000, -1000])
            moment = _pick(rng, rows)["created_time"] + timedelta(microseconds=shift)
        if rows and rng.random() < 0.15:  # exactly at the end of another lead's outcome window, or of the lookback
            span = _pick(rng, [WINDOW_DAYS, 9, 9 + WINDOW_DAYS])
            moment = _pick(rng, rows)["created_time"] + timedelta(days=span, microseconds=_pick(rng, [0, 0, 1, -1]))
        ids = {
            "ad_id": _pick(rng, [None, None, "a", "a1", "a10", "a11", "b", "absent"]),
            "adset_id": _pick(rng, [None, None, None, "s", "s1", "s10", "absent"]),
            "campaign_id": _pick(rng, [None, None, None, None, "c", "c1", "absent"]),
        }
        lead = {"lead_id": f"L{number}", "created_time": moment, "day": local_day(moment), **ids}
        rows.append({**lead, "platform": (None, "fb", "ig")[number % 3]})
    return rows


def _outcome(rng: np.random.Generator, lead: Row, window_days: int) -> Row | None:
    if rng.random() < 0.4:
        return None
    window = timedelta(days=window_days)
    happened = lead["created_time"] + _pick(
        rng, [timedelta(0), window, window + MICROSECOND, window - MICROSECOND, window * float(rng.random() * 1.5)]
    )
    delays = [timedelta(0), timedelta(0), MICROSECOND, timedelta(days=1), timedelta(days=float(rng.random() * 20))]
    recorded = happened + _pick(rng, delays)
    withdrawn = recorded + _pick(rng, [*delays, timedelta(days=15)]) if rng.random() < 0.3 else None
    row = {"lead_id": lead["lead_id"], "qualified_time": happened, "recorded_time": recorded}
    return {**row, "withdrawn_time": withdrawn}


def _mapping(rng: np.random.Generator, leads: Sequence[Row]) -> tuple[Row, ...]:
    rows = []
    for lead in leads:
        if rng.random() < 0.3:
            ids = {"ad_id": _pick(rng, [None, "a", "a11"]), "adset_id": _pick(rng, [None, "s"]), "campaign_id": None}
            rows.append({"lead_id": lead["lead_id"], **ids})
    return tuple(rows)


def frame(rows: Sequence[Row], schema: Any) -> pl.DataFrame:
    """Rows as a typed frame."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def joined_leads(
    world: World,
    *,
    leads: Sequence[Row] | None = None,
    ads: pl.DataFrame | None = None,
    problem: ScoringProblem = PROBLEM,
) -> pl.DataFrame:
    """The compiled join; of all leads and ads rows unless some are given."""
    return join_leads(
        frame(world.leads if leads is None else leads, LEADS_SCHEMA).lazy(),
        hierarchy=(frame(world.ads, ADS_SCHEMA) if ads is None else ads).lazy(),
        mapping=frame(world.mapping, MAPPING_SCHEMA).lazy(),
        lag_days=LAG_DAYS,
        lookback_days=problem.hierarchy_lookback_days,
    ).collect()


def with_outcomes(joined: pl.DataFrame, world: World) -> pl.DataFrame:
    """Joined leads with the times of their outcomes, as the history that the features read."""
    times = frame(world.outcomes, OUTCOMES_SCHEMA).rename(
        {
            "qualified_time": "outcome_time",
            "recorded_time": "outcome_recorded_time",
            "withdrawn_time": "outcome_withdrawn_time",
        }
    )
    observed = (~pl.col("lead_id").is_in(sorted(world.unobserved))).alias("outcome_observed")
    return joined.join(times, on="lead_id", how="left").with_columns(observed).select(list(HISTORY_SCHEMA))


def features(world: World, *, engine: Any = "auto", problem: ScoringProblem = PROBLEM) -> pl.DataFrame:
    """The compiled feature table of the whole world."""
    joined = joined_leads(world, problem=problem)
    return compiled(
        joined,
        ads=frame(world.ads, ADS_SCHEMA),
        history=with_outcomes(joined, world),
        log=world.log,
        problem=problem,
        data=RICH,
        enrichments=world.enrichments(),
    ).collect(engine=engine)


def compiled(
    joined: pl.DataFrame,
    *,
    ads: pl.DataFrame | None,
    history: pl.DataFrame,
    log: OutcomeLog | None,
    problem: ScoringProblem = PROBLEM,
    data: DataAtHand = DATA,
    enrichments: Mapping[str, pl.LazyFrame] | None = None,
) -> pl.LazyFrame:
    """The plan of the feature table. Its base is the oldest moment of the history, whatever its fraction."""
    oldest = history["created_time"].min() or datetime.combine(FIRST_DAY, time(), UTC)
    assert isinstance(oldest, datetime)
    inputs = FeatureInputs(
        leads=joined.lazy(),
        ads=None if ads is None else ads.lazy(),
        history=history.lazy(),
        base=oldest,
        **(enrichments or {}),
    )
    return feature_table(inputs, problem=problem, data=data, lag_days=LAG_DAYS, log=log, timezone=ZONE)
