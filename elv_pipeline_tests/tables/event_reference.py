"""Slow, obviously right definitions of moments, event features and anchored labels: plain loops over plain rows.

Belongs here: what each value *means*, one moment at a time. Does not belong here: anything shared with the compiled
plans (no Polars), or data (``event_world.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from elv_pipeline.problems.event_specs import (
    TOUCHES,
    AnchoredTarget,
    ElementHistory,
    EngagementClock,
    EngagementScore,
    EventCounts,
    EventIntervals,
    EventRecency,
    EventSpec,
    ReplyContent,
    ReplyLatency,
    StepPosition,
    Success,
)
from elv_pipeline.tables.labels import Observation
from elv_pipeline_tests.tables.event_world import ZONE, OutreachWorld, Row

EARLY = datetime(1, 1, 1, tzinfo=UTC)


def microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def hours(span: timedelta | None) -> float | None:
    return None if span is None else microseconds(span) / 3_600_000_000


def version_at(world: OutreachWorld, step_id: str, now: datetime) -> Row | None:
    """The version of a step that held and was recorded at a time."""
    known = [
        row
        for row in world.steps
        if row["step_id"] == step_id and max(row["valid_from"] or EARLY, row["recorded_time"] or EARLY) <= now
    ]
    return max(known, key=lambda row: (row["valid_from"] or EARLY, row["recorded_time"] or EARLY), default=None)


def known_events(world: OutreachWorld, enrollment_id: str, now: datetime) -> list[Row]:
    """Events that had happened and had been recorded."""
    return [
        row
        for row in world.events
        if row["enrollment_id"] == enrollment_id and row["event_time"] <= now and row["recorded_time"] <= now
    ]


def reaches_of(world: OutreachWorld) -> list[Row]:
    """Enrollment and every step that was sent, at the first time at which send and step were known."""
    found = []
    for person in world.enrollments:
        base = {name: person[name] for name in ("org_id", "enrollment_id", "contact_id", "campaign_id")}
        start = person["enrolled_time"]
        found.append(
            {**base, "step_id": None, "template_id": None, "position": 0, "prediction_time": start, "sent_time": start}
        )
        sends = [e for e in world.events if e["enrollment_id"] == person["enrollment_id"] and e["event"] in TOUCHES]
        for step in {send["step_id"] for send in sends}:
            known, sent = min(
                (max(e["event_time"], e["recorded_time"]), e["event_time"]) for e in sends if e["step_id"] == step
            )
            versions = [row for row in world.steps if row["step_id"] == step]
            step_known = min(max(row["valid_from"] or EARLY, row["recorded_time"] or EARLY) for row in versions)
            now = max(known, start, step_known)
            version = version_at(world, step, now)
            assert version is not None
            place = {"step_id": step, "template_id": version["template_id"], "position": version["position"]}
            found.append({**base, **place, "prediction_time": now, "sent_time": sent})
    return found


def moments_of(world: OutreachWorld) -> list[Row]:
    """One moment for each position of each enrollment."""
    found: dict[tuple[str, int], Row] = {}
    for reach in sorted(reaches_of(world), key=lambda row: (row["prediction_time"], row["step_id"] or "")):
        found.setdefault((reach["enrollment_id"], reach["position"]), reach)
    rows = []
    for (enrollment, position), reach in found.items():
        day = reach["prediction_time"].astimezone(ZoneInfo(ZONE)).date()
        row = {name: value for name, value in reach.items() if name != "sent_time"}
        rows.append({"moment_id": f"{enrollment}@{position}", **row, "day": day})
    return sorted(rows, key=lambda row: (row["day"], row["prediction_time"], row["moment_id"]))


def features_of(world: OutreachWorld, moment: Row, specs: Sequence[EventSpec], reached: Sequence[Row]) -> Row:
    """Every declared column of one moment."""
    now = moment["prediction_time"]
    events = known_events(world, moment["enrollment_id"], now)
    person = next(row for row in world.enrollments if row["enrollment_id"] == moment["enrollment_id"])
    found: Row = {}
    for spec in specs:
        if isinstance(spec, EventCounts):
            found |= _counts(spec, events, now)
        elif isinstance(spec, EventRecency):
            found["hours_since_enrollment"] = hours(now - person["enrolled_time"])
            for kind in spec.kinds:
                ages = [now - e["event_time"] for e in events if e["event"] == kind]
                found[f"hours_since_{kind}"] = hours(min(ages, default=None))
        elif isinstance(spec, EventIntervals):
            found |= _intervals(spec, events)
        elif isinstance(spec, ReplyLatency):
            found |= _latency(spec, events)
        elif isinstance(spec, EngagementClock):
            found |= _clock(spec, events)
        elif isinstance(spec, StepPosition):
            found |= _step(spec, world, moment, events, person)
        elif isinstance(spec, EngagementScore):
            found[spec.name] = _score(spec, events, now)
        elif isinstance(spec, ReplyContent):
            found |= _reply(spec, events)
        elif isinstance(spec, ElementHistory):
            found |= _history(world, moment, spec, reached)
    return found


def _counts(spec: EventCounts, events: Sequence[Row], now: datetime) -> Row:
    found = {}
    for kind in spec.kinds:
        times = [e["event_time"] for e in events if e["event"] == kind]
        found[f"{kind}_count"] = len(times)
        for days in spec.window_days:
            found[f"{kind}_count_{days}d"] = sum(now - time < timedelta(days=days) for time in times)
    return found


def _intervals(spec: EventIntervals, events: Sequence[Row]) -> Row:
    epoch, second = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
    seconds = sorted((e["event_time"] - epoch) // second for e in events if e["event"] in spec.kinds)
    gaps = [later - earlier for earlier, later in pairwise(seconds)]
    mean = spread = None
    if gaps:
        mean = sum(gaps) / (len(gaps) * 3600)
        spread = math.sqrt(len(gaps) * sum(gap * gap for gap in gaps) - sum(gaps) ** 2) / (len(gaps) * 3600)
    return {f"{spec.name}_interval_hours_mean": mean, f"{spec.name}_interval_hours_spread": spread}


def _latency(spec: ReplyLatency, events: Sequence[Row]) -> Row:
    found = {}
    for response in spec.responses:
        waits = []
        begins = [kind for kind in spec.sent if kind != response]
        for step in {e["step_id"] for e in events if e["event"] in begins}:
            sent = min(e["event_time"] for e in events if e["step_id"] == step and e["event"] in begins)
            answers = [e["event_time"] - sent for e in events if e["step_id"] == step and e["event"] == response]
            waits += sorted(wait for wait in answers if wait >= timedelta(0))[:1]
        total = microseconds(sum(waits, timedelta(0)))
        found[f"hours_from_{'_or_'.join(spec.sent)}_to_{response}_mean"] = (
            total / (len(waits) * 3_600_000_000) if waits else None
        )
    return found


def _clock(spec: EngagementClock, events: Sequence[Row]) -> Row:
    times = sorted(e["event_time"] for e in events if e["event"] in spec.kinds)
    local = [time.astimezone(ZoneInfo(ZONE)) for time in times]

    def share(met: Callable[[datetime], bool]) -> float | None:
        return sum(map(met, local)) / len(local) if local else None

    found: Row = {
        f"engagement_{part}_share": share(lambda time, n=number: time.hour // 6 == n)
        for number, part in enumerate(("night", "morning", "afternoon", "evening"))
    }
    found["engagement_weekend_share"] = share(lambda time: time.isoweekday() >= 6)
    found["last_engagement_hour"] = local[-1].hour if local else None
    found["last_engagement_weekday"] = local[-1].isoweekday() if local else None
    return found


def _step(spec: StepPosition, world: OutreachWorld, moment: Row, events: Sequence[Row], person: Row) -> Row:
    now, position = moment["prediction_time"], moment["position"]
    names = {row["step_id"] for row in world.steps if row["campaign_id"] == moment["campaign_id"]}
    plan = [version for name in names if (version := version_at(world, name, now)) is not None]
    behind = [step for step in plan if step["position"] > position]
    nearest = min((step["position"] for step in behind), default=None)
    waits = [s["wait_days"] for s in behind if s["position"] == nearest and s["wait_days"] is not None]
    mine = version_at(world, moment["step_id"], now) if moment["step_id"] else None
    planned = mine["wait_days"] * 24.0 if mine and mine["wait_days"] is not None else None
    sends = [e for e in events if e["event"] in spec.sent]
    sent = min((e["event_time"] for e in sends if e["step_id"] == moment["step_id"]), default=None)
    actual = None
    if sent is not None:
        others = [e["event_time"] for e in sends if e["step_id"] != moment["step_id"] and e["event_time"] <= sent]
        actual = hours(sent - max(others, default=person["enrolled_time"]))
    return {
        "step_position": position,
        # Before anything of the campaign is known there is nothing to count.
        "steps_left": len(behind) if plan else None,
        "hours_in_step": hours(now - sent) if sent is not None else None,
        "planned_wait_hours": planned,
        "actual_wait_hours": actual,
        "wait_excess_hours": actual - planned if actual is not None and planned is not None else None,
        "next_planned_wait_hours": min(waits) * 24.0 if waits else None,
    }


def _score(spec: EngagementScore, events: Sequence[Row], now: datetime) -> float:
    weights = dict(spec.weights)
    return sum(
        weights[e["event"]] * 0.5 ** ((now - e["event_time"]) / timedelta(days=spec.half_life_days))
        for e in events
        if e["event"] in weights
    )


def _reply(spec: ReplyContent, events: Sequence[Row]) -> Row:
    replies = [e for e in events if e["event"] == spec.kind]

    def order(row: Row) -> tuple[Any, ...]:
        numbers = [row.get(f"reply_{name}") for name in ("characters", "words", "questions", "sentiment")]
        return row["event_time"], row["recorded_time"], row["step_id"], *((n is not None, n or 0) for n in numbers)

    last = max(replies, key=order, default={})
    found: Row = {f"last_reply_{n}": last.get(f"reply_{n}") for n in ("characters", "words", "questions", "sentiment")}
    felt = [e["reply_sentiment"] for e in replies if e.get("reply_sentiment") is not None]
    found["mean_reply_sentiment"] = sum(math.floor(s * 2**40) for s in felt) / 2**40 / len(felt) if felt else None
    for bucket in range(spec.token_buckets):
        hit = any(token % spec.token_buckets == bucket for token in last.get("reply_tokens") or [])
        found[f"last_reply_token_{bucket:02d}"] = int(hit) if replies else None
    return found


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _history(world: OutreachWorld, moment: Row, spec: ElementHistory, reached: Sequence[Row]) -> Row:
    now, days, found = _milliseconds(moment["prediction_time"]), spec.lookback_days, {}

    def within(time: datetime) -> bool:
        return now - days * 86_400_000 <= _milliseconds(time) < now

    for level in spec.levels:
        first: dict[tuple[str, str], Row] = {}
        for reach in sorted(reached, key=lambda row: (row["prediction_time"], row["sent_time"])):
            counts = reach["position"] == 0 if level.name == "campaign" else reach["position"] > 0
            if counts:
                first.setdefault((reach["enrollment_id"], reach[level.key]), reach)
        own = moment[level.key]
        volume = sum(within(r["prediction_time"]) for (_, element), r in first.items() if element == own)
        found[f"{level.name}_reached_{days}d"] = None if own is None else volume
        for success in spec.successes:
            window = timedelta(days=success.window_days)
            mature = [(key, r) for key, r in first.items() if within(r["prediction_time"] + window)]
            mature = [(key, r) for key, r in mature if _counted(world, r, window, success)]
            hits = {key for key, r in mature if _hit(world, r, window, success, level.key, reached, now)}
            rate = None
            if mature and own is not None:
                everywhere = len(hits) / len(mature)
                here = [key for key, _ in mature if key[1] == own]
                rate = (sum(key in hits for key in here) + float(spec.prior_enrollments) * everywhere) / (
                    len(here) + float(spec.prior_enrollments)
                )
            found[f"{level.name}_{success.name}_rate_{days}d"] = rate
    return found


def _counted(world: OutreachWorld, reach: Row, window: timedelta, success: Success) -> bool:
    end, span = reach["prediction_time"] + window, world.span
    if span.observed_from is not None and reach["prediction_time"] < span.observed_from:
        return False
    if span.observed_until is not None and end > span.observed_until:
        return False
    return not any(
        row["enrollment_id"] == reach["enrollment_id"]
        and success.table == "outcomes"
        and row["outcome"] in success.kinds
        and row["outcome_time"] < reach["sent_time"]
        and row["recorded_time"] <= end
        and (row["withdrawn_time"] is None or row["withdrawn_time"] > end)
        for row in world.outcomes
    )


def _hit(
    world: OutreachWorld, reach: Row, window: timedelta, success: Success, key: str, reached: Sequence[Row], now: int
) -> bool:
    """Whether the first recorded success within the window was known, and stood, before the moment."""
    found: list[tuple[datetime, datetime, datetime]] = []
    if success.table == "outcomes":
        found = [
            (o["recorded_time"], o["outcome_time"], o["withdrawn_time"] or EARLY)
            for o in world.outcomes
            if o["enrollment_id"] == reach["enrollment_id"] and o["outcome"] in success.kinds
        ]
    for event in world.events if success.table != "outcomes" else ():
        if event["enrollment_id"] != reach["enrollment_id"] or event["event"] not in success.kinds:
            continue
        step = [r for r in reached if r["enrollment_id"] == reach["enrollment_id"] and r["step_id"] == event["step_id"]]
        if key == "campaign_id" or (step and step[0][key] == reach[key]):
            found.append((max(event["recorded_time"], event["event_time"]), event["event_time"], EARLY))
    end = reach["prediction_time"] + window
    inside = sorted(row for row in found if reach["sent_time"] <= row[1] <= end)
    if not inside:
        return False
    recorded, _, withdrawn = inside[0]
    return _milliseconds(recorded) < now and (withdrawn == EARLY or _milliseconds(withdrawn) >= now)


def anchor_of(world: OutreachWorld, moment: Row, target: AnchoredTarget) -> tuple[datetime | None, datetime | None]:
    """Begin of the window and when it was known."""
    if not target.anchor_events:
        return moment["prediction_time"], moment["prediction_time"]
    known = [
        (max(e["event_time"], e["recorded_time"]), e["event_time"])
        for e in world.events
        if e["enrollment_id"] == moment["enrollment_id"] and e["event"] in target.anchor_events
    ]
    recorded, time = min(known, default=(None, None))
    return time, recorded


def status_of(
    world: OutreachWorld, moment: Row, target: AnchoredTarget, observation: Observation, written: datetime
) -> tuple[str, bool, int | None, str | None]:
    """``(label_status, mature, y, exclusion)`` of one moment."""

    def seen(time: datetime | None) -> bool:
        if time is None or time > observation.observed_until:
            return False
        return observation.origin is None or time < observation.origin

    time, recorded = anchor_of(world, moment, target)
    end = time + timedelta(days=target.window_days) if time is not None and seen(recorded) else None
    own = [
        o for o in world.outcomes if o["enrollment_id"] == moment["enrollment_id"] and o["outcome"] == target.outcome
    ]
    standing = [o for o in own if o["withdrawn_time"] is None or o["withdrawn_time"] > written]
    chosen = min(standing or own, key=lambda o: (o["recorded_time"], o["outcome_time"]), default=None)
    stands = chosen is not None and seen(chosen["recorded_time"]) and not seen(chosen["withdrawn_time"])
    if chosen is not None and stands and chosen["outcome_time"] <= moment["prediction_time"]:
        reason: str | None = "outcome has happened"
    elif end is not None and end < moment["prediction_time"]:
        reason = "window has ended"
    else:
        reason = None
    mature = end is not None and end <= observation.observed_until and end <= written
    if observation.origin is not None:
        mature = mature and end is not None and end < observation.origin
    judged = mature and (observation.observed_from is None or (time is not None and time >= observation.observed_from))
    positive = chosen is not None and stands and end is not None and chosen["outcome_time"] <= end
    if reason is not None:
        return "unknown", mature, None, reason
    return (
        "positive" if positive else "negative" if judged else "unknown",
        mature,
        int(positive) if judged else None,
        None,
    )
