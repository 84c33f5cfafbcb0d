"""Leads whose outcomes take time to become known, as ``matured_labels`` keeps them; and estimators with weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.tables.labels import Observation

Floats = npt.NDArray[np.float64]
START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW_DAYS = 14
DAYS = 150
ORIGIN = START + timedelta(days=120)
"""Leads go on coming for a month after it."""
NEW_CAMPAIGN_FROM = ORIGIN - timedelta(days=10)
NEW_RATE = 0.4


def observation(**changes: datetime | None) -> Observation:
    settings: dict[str, datetime | None] = {
        "observed_from": None,
        "observed_until": START + timedelta(days=DAYS + 60),
        "origin": ORIGIN,
    }
    return Observation(window_days=WINDOW_DAYS, **(settings | changes))  # type: ignore[arg-type]


def make_leads(*, rows: int = 6_000, seed: int = 3) -> pl.DataFrame:
    """Leads of five campaigns, the last of which opens late and is better; ``true_y`` is what nobody knows at first."""
    generator = np.random.default_rng(seed)
    offset = np.sort(generator.integers(0, DAYS * 86_400, rows))
    created = pl.Series([START]).cast(pl.Datetime("us", "UTC")).gather(np.zeros(rows, dtype=np.int64))
    created = (created.dt.epoch("s") + pl.Series(offset)).cast(pl.Int64)
    campaign = generator.integers(0, 4, rows)
    late = (offset >= (NEW_CAMPAIGN_FROM - START).total_seconds()) & (generator.random(rows) < 0.4)
    campaign = np.where(late, 4, campaign)
    rate = np.array([0.05, 0.1, 0.15, 0.2, NEW_RATE])[campaign]
    delay = np.ceil(generator.gamma(1.3, 3.5, rows) * 86_400).astype(np.int64)
    converts = (generator.random(rows) < rate) & (delay <= WINDOW_DAYS * 86_400)
    moments = pl.from_epoch(created, time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    outcome = (
        pl.from_epoch(created + pl.Series(delay), time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    nothing = pl.Series([None], dtype=pl.Datetime("us", "UTC"))
    outcome = outcome.zip_with(pl.Series(converts), nothing)
    return pl.DataFrame(
        {
            "lead_id": [f"lead_{number:06d}" for number in generator.permutation(rows)],
            "created_time": moments,
            "campaign_id": [f"campaign_{number}" for number in campaign.tolist()],
            "noise": generator.normal(size=rows),
            "true_y": converts,
            "outcome_time": outcome,
            "outcome_recorded_time": outcome,
        }
    ).with_columns(
        outcome_withdrawn_time=pl.lit(None, pl.Datetime("us", "UTC")),
        outcome_observed=pl.lit(True),
        labels_observed_until=pl.lit(START + timedelta(days=DAYS + 60)).cast(pl.Datetime("us", "UTC")),
    )


@dataclass
class WeightedRates:
    """The weighted rate of each value of a column; unseen values have the overall one."""

    column: str
    overall: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)

    def fit(self, table: pl.DataFrame, y: npt.NDArray[np.int8], weight: Floats) -> WeightedRates:
        rows = table.select(self.column).with_columns(y=pl.Series(y * weight), weight=pl.Series(weight))
        self.overall = float((y * weight).sum() / weight.sum())
        sums = rows.group_by(self.column).agg(pl.col("y", "weight").sort().sum())
        self.rates = {value: hits / count for value, hits, count in sums.iter_rows()}
        return self

    def margin(self, table: pl.DataFrame) -> Floats:
        p = np.array([self.rates.get(value, self.overall) for value in table[self.column].to_list()])
        p = p.clip(1e-4, 1 - 1e-4)
        margin: Floats = np.log(p / (1 - p))
        return margin


def fit_rates(table: pl.DataFrame, y: npt.NDArray[np.int8], weight: Floats) -> WeightedRates:
    """Rates by campaign."""
    return WeightedRates("campaign_id").fit(table, y, weight)


def learn_by_heart(table: pl.DataFrame, y: npt.NDArray[np.int8], weight: Floats) -> WeightedRates:
    """The label of each lead itself: an estimator as flexible as can be."""
    return WeightedRates("lead_id").fit(table, y, weight)
