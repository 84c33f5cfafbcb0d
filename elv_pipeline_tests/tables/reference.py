"""Slow, obviously right definitions of every table: plain loops over plain rows, one lead at a time.

Belongs here: what each value *means*, said as directly as Python can. Does not belong here: anything shared with the
compiled plans (no Polars, no prefix sums, no slots), or data (``world.py``).

Rows are dictionaries. What a lead may know: ads rows of days up to its day minus the lag; leads created in an earlier
millisecond than its own; outcomes recorded in an earlier millisecond than its own; the mapping, which has no time.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from elv_pipeline.problems.feature_specs import HashedTokens, KnownAttribute, Level, Mix, OutcomeHistory, WindowSum
from elv_pipeline.tables.labels import Observation
from elv_pipeline.tables.outcome_history import OutcomeLog

Row = Mapping[str, Any]
IDS = ("ad_id", "adset_id", "campaign_id")


def millisecond_of(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down: the resolution at which moments are compared."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def join_lead(
    lead: Row, *, ads: Sequence[Row] | None, mapping: Sequence[Row] | None, lag_days: int, lookback_days: int
) -> dict[str, Any]:
    """The lead with its ids as they could be known at its moment, and how it was joined."""
    row = {"lead_id": lead["lead_id"], "created_time": lead["created_time"], "day": lead["day"]}
    row |= {column: lead[column] for column in (*IDS, "platform")}
    row["join_method"] = next((column for column in IDS if lead[column] is not None), "none")
    if mapping is not None and row["join_method"] == "none":
        for mapped in mapping:
            if mapped["lead_id"] == lead["lead_id"] and any(mapped[column] is not None for column in IDS):
                row |= {column: mapped[column] for column in IDS}
                row["join_method"] = "map"
    for child, parents in (("ad_id", ("adset_id", "campaign_id")), ("adset_id", ("campaign_id",))):
        newest = _newest_known_day(row, child, ads or (), lag_days=lag_days, lookback_days=lookback_days)
        for parent in parents:
            if row[parent] is None and newest is not None:
                names = [a[parent] for a in ads or () if a[child] == row[child] and a["day"] == newest]
                row[parent] = min((name for name in names if name is not None), default=None)
    return row


def _newest_known_day(row: Row, child: str, ads: Sequence[Row], *, lag_days: int, lookback_days: int) -> Any:
    if row[child] is None:
        return None
    newest_allowed = row["day"] - timedelta(days=lag_days)
    oldest_allowed = newest_allowed - timedelta(days=lookback_days)
    days = [a["day"] for a in ads if a[child] == row[child] and oldest_allowed <= a["day"] <= newest_allowed]
    return max(days, default=None)


def window_features(
    lead: Row, *, ads: Sequence[Row], spec: WindowSum, level: Level, lag_days: int
) -> dict[str, float | int | None]:
    """Every column of one level: sums, ratios, active days, trend. All null where the lead has no id of the level."""
    features: dict[str, float | int | None] = {}
    for window in spec.windows:

        def name(feature: str, window: int = window) -> str:
            return f"{level.name}_{feature}_{window}d"

        sums = {m: _sum(lead, ads, level, m, lag_days, 0, window) for m in spec.measures}
        shown = {m: total / 1_000_000 if m.endswith("_micros") else total for m, total in sums.items()}
        for measure in spec.measures:
            features[name(measure.removesuffix("_micros"))] = shown[measure]
        for ratio in spec.ratios:
            below = sums[ratio.denominator]
            features[name(ratio.name)] = shown[ratio.numerator] / below * ratio.scale if below > 0 else None
        features[name("active_days")] = _active_days(lead, ads, level, spec.active_measure, lag_days, window)
        half = window // 2
        newer = _sum(lead, ads, level, spec.trend_measure, lag_days, 0, half)
        older = _sum(lead, ads, level, spec.trend_measure, lag_days, half, 2 * half)
        trend = (newer - older) / (newer + older) if newer + older > 0 else None
        features[name(f"{spec.trend_measure.removesuffix('_micros')}_trend")] = trend
    if lead[level.key] is None:
        return dict.fromkeys(features)
    return features


def _days_back(lead: Row, ad: Row, lag_days: int) -> int:
    """0 for the newest day that the lead may know, 1 for the day before, negative for what it may not know."""
    return int((lead["day"] - timedelta(days=lag_days) - ad["day"]).days)


def _sum(lead: Row, ads: Sequence[Row], level: Level, measure: str, lag_days: int, first: int, stop: int) -> int:
    rows = [a for a in ads if a[level.key] == lead[level.key] and first <= _days_back(lead, a, lag_days) < stop]
    return sum(int(a[measure]) for a in rows)


def _active_days(lead: Row, ads: Sequence[Row], level: Level, measure: str, lag_days: int, window: int) -> int:
    return sum(_sum(lead, ads, level, measure, lag_days, back, back + 1) > 0 for back in range(window))


def mix_features(
    lead: Row, *, breakdown: Sequence[Row], ads: Sequence[Row], spec: Mix, level: Level, lag_days: int
) -> dict[str, float | int | None]:
    """Totals, entropy, top share and active values of one level. All null where the lead has no id of the level."""
    features: dict[str, float | int | None] = {}
    for window in spec.windows:
        by_value: dict[str, dict[str, int]] = {}
        for row in breakdown:
            if 0 <= _days_back(lead, row, lag_days) < window and _owner(row, ads, spec, level) == lead[level.key]:
                sums = by_value.setdefault(row[spec.dimension], dict.fromkeys(spec.measures, 0))
                for measure in spec.measures:
                    sums[measure] += row[measure]

        def name(feature: str, window: int = window) -> str:
            return f"{level.name}_{spec.dimension}_{feature}_{window}d"

        for measure in spec.measures:
            total = sum(sums[measure] for sums in by_value.values())
            is_money = measure.endswith("_micros")
            features[name(measure.removesuffix("_micros"))] = total / 1_000_000 if is_money else total
        spends = [sums[spec.share_measure] for sums in by_value.values() if sums[spec.share_measure] > 0]
        shared = spec.share_measure.removesuffix("_micros")
        shares = [spend / sum(spends) for spend in spends]
        # Terms in units of 2^-52, so that their sum is exact in any order.
        units = sum(round(-p * math.log(p) * 2**52) for p in shares)
        features[name(f"{shared}_entropy")] = units / 2**52 if spends else None
        features[name(f"top_{shared}_share")] = max(shares, default=None)
        features[name("active")] = sum(sums[spec.active_measure] > 0 for sums in by_value.values())
    if lead[level.key] is None:
        return dict.fromkeys(features)
    return features


def known_category(lead: Row, rows: Sequence[Row], *, spec: KnownAttribute) -> dict[str, str | None]:
    """The category of the version that a lead may know."""
    version = _known_version(lead, rows, key=spec.key, column=spec.column)
    return {f"category_{spec.column}": normal(version[3]) if version is not None else None}


def token_features(lead: Row, rows: Sequence[Row], *, spec: HashedTokens) -> dict[str, int | None]:
    """Counts and buckets of the text that a lead may know; all null without a version, zero without keywords."""
    names = [f"{spec.name}_token_{bucket:02d}" for bucket in range(spec.buckets)]
    counts = [f"{spec.name}_tokens", f"{spec.name}_distinct_tokens"]
    version = _known_version(lead, rows, key=spec.key, column=spec.column)
    if version is None:
        return dict.fromkeys([*counts, *names])
    parts = [normal(part) for part in re.split(r"[|;,\r\n]", version[3])]
    words = [word for word in parts if word]
    hit = {int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big") % spec.buckets for word in words}
    sizes = dict(zip(counts, (len(words), len(set(words))), strict=True))
    return {**sizes, **{name: int(bucket in hit) for bucket, name in enumerate(names)}}


def normal(text: str) -> str | None:
    """A name in its normal form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()) or None


def _known_version(lead: Row, rows: Sequence[Row], *, key: str, column: str) -> Any:
    early = datetime.min.replace(tzinfo=UTC)
    known = [
        (row["valid_from"] or early, row["recorded_at"] or early, row[column] is not None, row[column] or "")
        for row in rows
        if row[key] == lead[key]
        and max(row["valid_from"] or early, row["recorded_at"] or early) <= lead["created_time"]
    ]
    return max(known, default=None)


def _owner(row: Row, ads: Sequence[Row], spec: Mix, level: Level) -> Any:
    """The level's id of a breakdown row: its own ad, or the parent that the ads row of the same day names."""
    if level.key == spec.key:
        return row[spec.key]
    parents = [a[level.key] for a in ads if a[spec.key] == row[spec.key] and a["day"] == row["day"]]
    return min((parent for parent in parents if parent is not None), default=None)


def history_features(
    lead: Row, *, history: Sequence[Row], spec: OutcomeHistory, levels: Sequence[Level], log: OutcomeLog | None
) -> dict[str, float | int | None]:
    """Volume and shrunk matured rate of every level, root first, as known at the lead's moment."""
    features: dict[str, float | int | None] = {}
    rate: float | None = None
    for level in [None, *reversed(levels)]:
        name = "all" if level is None else level.name
        absent = level is not None and lead[level.key] is None
        members = [h for h in history if level is None or (not absent and h[level.key] == lead[level.key])]
        volume = sum(_within(h["created_time"], lead, spec.lookback_days) for h in members)
        features[f"{name}_leads_{spec.lookback_days}d"] = None if absent else volume
        if log is None:
            continue
        matured = [h for h in members if _matured(h, lead, spec, log)]
        qualified = sum(_known_positive(h, lead, log) for h in matured)
        if level is None:
            rate = qualified / len(matured) if matured else None
        elif rate is not None:
            rate = (qualified + float(spec.prior_leads) * rate) / (len(matured) + float(spec.prior_leads))
        features[f"{name}_qualified_rate_{spec.lookback_days}d"] = None if absent else rate
    return features


def _within(moment: datetime, lead: Row, lookback_days: int) -> bool:
    now = millisecond_of(lead["created_time"])
    return now - lookback_days * 86_400_000 <= millisecond_of(moment) < now


def _matured(earlier: Row, lead: Row, spec: OutcomeHistory, log: OutcomeLog) -> bool:
    window_end = earlier["created_time"] + timedelta(days=log.window_days)
    if not earlier["outcome_observed"]:
        return False
    if log.observed_from is not None and earlier["created_time"] < log.observed_from:
        return False
    if log.observed_until is not None and window_end > log.observed_until:
        return False
    return _within(window_end, lead, spec.lookback_days)


def _known_positive(earlier: Row, lead: Row, log: OutcomeLog) -> bool:
    if earlier["outcome_time"] is None:
        return False
    window_end = earlier["created_time"] + timedelta(days=log.window_days)
    now = millisecond_of(lead["created_time"])
    recorded, withdrawn = earlier["outcome_recorded_time"], earlier["outcome_withdrawn_time"]
    stands = withdrawn is None or millisecond_of(withdrawn) >= now
    return earlier["outcome_time"] <= window_end and millisecond_of(recorded) < now and stands


def calendar_features(lead: Row, *, timezone: str) -> dict[str, int]:
    """Parts of the lead's local time."""
    local = lead["created_time"].astimezone(ZoneInfo(timezone))
    return {"created_weekday": local.isoweekday(), "created_hour": local.hour, "created_month_day": local.day}


def label_status(label: Row, *, observation: Observation) -> tuple[str, bool, int | None]:
    """``(label_status, mature, y)`` of one lead with its outcome times."""
    window_end = label["created_time"] + timedelta(days=observation.window_days)
    positive = False
    if label["outcome_time"] is not None:
        recorded = label["outcome_recorded_time"]
        positive = label["outcome_time"] <= window_end and recorded <= observation.observed_until
        if observation.origin is not None and recorded >= observation.origin:
            positive = False
        withdrawn = label["outcome_withdrawn_time"]
        before_origin = observation.origin is None or (withdrawn is not None and withdrawn < observation.origin)
        if withdrawn is not None and withdrawn <= observation.observed_until and before_origin:
            positive = False
    # An outcome at the very end of the window still counts, so the end itself must have been observable.
    mature = window_end <= observation.observed_until
    if observation.origin is not None:
        mature = mature and window_end < observation.origin
    judged = mature and label["outcome_observed"]
    if observation.observed_from is not None and label["created_time"] < observation.observed_from:
        judged = False
    status = "positive" if positive else "negative" if judged else "unknown"
    return status, mature, int(positive) if judged else None
