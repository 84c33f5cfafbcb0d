"""The same features in plain pandas, as they are usually written: daily grids, groupby-rolling, merges.

Belongs here: readable pandas and nothing else; it imports nothing of the product, so that an error there cannot hide
here. Loops over rows or groups would be slower still. Does not belong here: measuring (``run.py``).

    python -m benchmarks.features.plain_pandas <folder of the size> <parquet file to write>
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

LEVELS = {"ad": "ad_id", "adset": "adset_id", "campaign": "campaign_id"}
MEASURES = ["impressions", "clicks", "spend_micros"]
WINDOWS = (3, 7, 14, 28)
MIX_WINDOWS = (7, 28)
LAG = pd.Timedelta(days=1)
LOOKBACK = pd.Timedelta(days=90)
OUTCOME_WINDOW = pd.Timedelta(days=14)
PRIOR_LEADS = 20
TIMEZONE = "Europe/Berlin"


def feature_table(folder: Path) -> pd.DataFrame:
    """All features of all leads, by (day, created_time, lead_id)."""
    leads = _read(folder / "joined_leads.parquet").sort_values(["day", "created_time", "lead_id"], ignore_index=True)
    ads = _read(folder / "ads")
    features = [leads]
    for level, key in LEVELS.items():
        features.append(window_features(leads, ads, level=level, key=key))
    features.append(outcome_history(leads, _read(folder / "outcomes.parquet")))
    features.append(calendar(leads))
    placements = _read(folder / "ads_placement").merge(ads[["day", *LEVELS.values()]], on=["day", "ad_id"], how="left")
    del ads
    for level, key in LEVELS.items():
        features.append(mix_features(leads, placements, level=level, key=key))
    return pd.concat(features, axis=1)


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    table["day"] = pd.to_datetime(table["day"])
    return table


def daily_grid(daily: pd.DataFrame, *, key: str, longest: int) -> pd.DataFrame:
    """One row for every entity and day, from its first day until no window reaches its last one; zero where idle."""
    spans = daily.groupby(key)["day"].agg(["min", "max"])
    days = (spans["max"] - spans["min"]).dt.days.to_numpy() + 1 + longest
    first = np.repeat(spans["min"].to_numpy(), days)
    offset = np.arange(days.sum()) - np.repeat(days.cumsum() - days, days)
    grid = pd.DataFrame(
        {key: np.repeat(spans.index.to_numpy(), days), "day": first + pd.to_timedelta(offset, unit="D")}
    )
    return grid.merge(daily, on=[key, "day"], how="left").fillna(0)


def on_leads(leads: pd.DataFrame, grid: pd.DataFrame, *, key: str, zero: list[str]) -> pd.DataFrame:
    """Columns of the grid for each lead, as they stood the lag before it; an entity that never ran has zeros."""
    found = leads[[key, "day"]].merge(grid.assign(day=grid["day"] + LAG), on=[key, "day"], how="left")
    found[zero] = found[zero].fillna(0)
    return found.drop(columns=[key, "day"]).where(leads[key].notna())


def window_features(leads: pd.DataFrame, ads: pd.DataFrame, *, level: str, key: str) -> pd.DataFrame:
    """Sums, ratios, active days and trend of one level."""
    daily = ads.groupby([key, "day"], as_index=False)[MEASURES].sum()
    daily["active"] = (daily["impressions"] > 0).astype("int64")
    grid = daily_grid(daily, key=key, longest=max(WINDOWS))
    by_entity = grid.groupby(key, sort=False)
    features = grid[[key, "day"]].copy()
    counts = []
    for window in WINDOWS:
        sums = by_entity[[*MEASURES, "active"]].rolling(window, min_periods=1).sum().reset_index(drop=True)
        newer = by_entity["clicks"].rolling(window // 2, min_periods=1).sum().to_numpy()
        older = by_entity["clicks"].rolling(window // 2 * 2, min_periods=1).sum().to_numpy() - newer
        sums["spend"] = sums["spend_micros"] / 1_000_000
        impressions, clicks = sums["impressions"], sums["clicks"]
        for name in ("impressions", "clicks", "spend"):
            features[f"{level}_{name}_{window}d"] = sums[name]
        features[f"{level}_ctr_{window}d"] = (clicks / impressions).where(impressions > 0)
        features[f"{level}_cpc_{window}d"] = (sums["spend"] / clicks).where(clicks > 0)
        features[f"{level}_cpm_{window}d"] = (sums["spend"] / impressions * 1000).where(impressions > 0)
        features[f"{level}_active_days_{window}d"] = sums["active"]
        features[f"{level}_clicks_trend_{window}d"] = (
            pd.Series(newer - older).div(newer + older).where(newer + older > 0)
        )
        counts += [f"{level}_{name}_{window}d" for name in ("impressions", "clicks", "spend", "active_days")]
    return on_leads(leads, features, key=key, zero=counts)


def mix_features(leads: pd.DataFrame, placements: pd.DataFrame, *, level: str, key: str) -> pd.DataFrame:
    """Totals over the placements, entropy and top share of their spend, and how many were active, of one level."""
    wide = placements.pivot_table(
        index=[key, "day"], columns="placement", values=MEASURES, aggfunc="sum", fill_value=0, observed=True
    )
    wide.columns = [f"{measure}.{placement}" for measure, placement in wide.columns]
    by = {measure: [name for name in wide.columns if name.startswith(f"{measure}.")] for measure in MEASURES}
    grid = daily_grid(wide.reset_index(), key=key, longest=max(MIX_WINDOWS))
    del wide
    features = grid[[key, "day"]].copy()
    by_entity = grid.groupby(key, sort=False)
    counts = []
    for window in MIX_WINDOWS:
        sums = {m: by_entity[by[m]].rolling(window, min_periods=1).sum().reset_index(drop=True) for m in MEASURES}
        totals = {measure: sums[measure].sum(axis=1) for measure in MEASURES}
        spend, total = sums["spend_micros"], totals["spend_micros"]
        shares = spend.div(total, axis=0)
        terms = (-shares * np.log(shares.where(shares > 0))).fillna(0)
        name = f"{level}_placement_{{}}_{window}d".format
        features[name("impressions")] = totals["impressions"]
        features[name("clicks")] = totals["clicks"]
        features[name("spend")] = total / 1_000_000
        features[name("spend_entropy")] = terms.sum(axis=1).where(total > 0)
        features[name("top_spend_share")] = (spend.max(axis=1) / total).where(total > 0)
        features[name("active")] = (sums["impressions"] > 0).sum(axis=1)
        counts += [name(column) for column in ("impressions", "clicks", "spend", "active")]
    return on_leads(leads, features, key=key, zero=counts)


def outcome_history(leads: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Volume and shrunk matured rate of all leads and of each level, known strictly before each lead's moment."""
    known = leads.merge(outcomes.drop(columns="day"), on="lead_id", how="left", validate="1:1")
    known["matured_time"] = known["created_time"] + OUTCOME_WINDOW
    known["leaving_time"] = known["matured_time"] + LOOKBACK
    known["known_time"] = known[["matured_time", "recorded_time"]].max(axis=1)
    known["everything"] = "everything"
    features, parent = {}, None
    for level, key in {"all": "everything", **dict(reversed(LEVELS.items()))}.items():
        rows = known[known[key].notna()]
        features[f"{level}_leads_90d"] = _volume(rows, key).reindex(known.index)
        counts = _matured_and_qualified(rows, key).reindex(known.index)
        matured, qualified = counts["matured"], counts["qualified"]
        if parent is None:
            rate = (qualified / matured).where(matured > 0)
        else:
            rate = (qualified.fillna(0) + PRIOR_LEADS * parent) / (matured.fillna(0) + PRIOR_LEADS)
        features[f"{level}_qualified_rate_90d"] = rate.where(known[key].notna())
        parent = rate
    return pd.DataFrame(features)


def _volume(rows: pd.DataFrame, key: str) -> pd.Series:
    ordered = rows.assign(one=1).sort_values([key, "created_time"], kind="stable")
    counted = ordered.groupby(key).rolling("90D", on="created_time", closed="left")["one"].sum()
    return pd.Series(counted.fillna(0).to_numpy(), index=ordered.index)


def _matured_and_qualified(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Leads of the segment that have matured, and those of them that are known to have qualified, at each moment."""
    qualified = rows[(rows["qualified_time"] <= rows["matured_time"]) & (rows["known_time"] < rows["leaving_time"])]
    changes = [
        (rows, "matured_time", 1, 0),
        (rows, "leaving_time", -1, 0),
        (qualified, "known_time", 0, 1),
        (qualified, "leaving_time", 0, -1),
    ]
    events = pd.concat(
        pd.DataFrame({key: frame[key], "moment": frame[moment], "matured": matured, "qualified": count})
        for frame, moment, matured, count in changes
    ).sort_values("moment")
    events[["matured", "qualified"]] = events.groupby(key)[["matured", "qualified"]].cumsum()
    found = pd.merge_asof(
        rows[[key, "created_time"]].sort_values("created_time", kind="stable").reset_index(),
        events,
        left_on="created_time",
        right_on="moment",
        by=key,
        allow_exact_matches=False,
    )
    return found.set_index("index")[["matured", "qualified"]].fillna(0)


def calendar(leads: pd.DataFrame) -> pd.DataFrame:
    """Parts of the lead's local time, and its campaign."""
    local = leads["created_time"].dt.tz_convert(TIMEZONE)
    return pd.DataFrame(
        {
            "created_weekday": local.dt.day_of_week + 1,
            "created_hour": local.dt.hour,
            "created_month_day": local.dt.day,
            "category_campaign_id": leads["campaign_id"],
        }
    )


if __name__ == "__main__":
    feature_table(Path(sys.argv[1])).to_parquet(sys.argv[2])
