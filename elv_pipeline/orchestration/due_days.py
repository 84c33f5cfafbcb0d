"""Which days a daily run owes: yesterday, days that were missed, and days that waited for their data.

Belongs here: the days, from what the lake remembers. Does not belong here: when a run starts (``jobs.py``), leads that
arrive late on scored days (``late_leads.py``), or whether a day's inputs are complete (``monitoring/``). The clock is
never asked: a run for a past day owes what that day owed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta
from typing import Any

from elv_pipeline.lake import days_between
from elv_pipeline.monitoring.held_days import days_to_score
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.late_leads import days_looked_at_again, days_with_late_leads
from elv_pipeline.orchestration.partitions import DayRange

CATCH_UP_DAYS = 14
"""Days before yesterday that are scored again when an export reaches them late."""
MISSED_DAYS = 92
"""How far back days that were never scored are caught up; what is older needs 'elv score'."""
HELD = "held/days"
"""Document of the lake: days that were not scored because their inputs are incomplete (``monitoring/held_days.py``)."""
UNPUBLISHED = "unpublished/days"
"""Document of the lake: days whose scores still have to go to the database."""


def due_days(deployment: Deployment, yesterday: date) -> DayRange:
    """The days from the oldest that is owed to yesterday."""
    return DayRange(owed_days(deployment, yesterday)[0], yesterday)


def run_days(deployment: Deployment, yesterday: date) -> DayRange:
    """The days of one ranged run: those that are due, and scored ones before them where late leads are looked for."""
    owed = owed_days(deployment, yesterday)[0]
    since = max(yesterday - timedelta(days=MISSED_DAYS), deployment.first_day)
    earlier = {
        *days_looked_at_again(deployment, oldest_owed=owed),
        *days_with_late_leads(deployment, first=since, before=owed),
    }
    return DayRange(min((day for day in earlier if day >= deployment.first_day), default=owed), yesterday)


def owed_config(deployment: Deployment, yesterday: date) -> dict[str, Any]:
    """Run configuration by which a ranged run scores the days that are owed and leaves all others alone.

    What those were told stays: scored again with today's champion, a published promise would be another one. Only their
    leads that were never told anything are scored.
    """
    only = {"config": {"only": [str(day) for day in owed_days(deployment, yesterday)]}}
    asked = ("day_completeness", "predictions", *deployment.boards, "drift", "run_report", "lead_scores")
    return {"ops": {f"{deployment.name}__{asset}": only for asset in asked}}


def left_alone(deployment: Deployment, days: Collection[date], *, only: Collection[str]) -> list[date]:
    """Days of a run that have scores and are not asked for; none where ``only`` is empty, which asks for all."""
    if not only:
        return []
    scored = set(deployment.lake.days("predictions"))
    return [day for day in sorted(days) if str(day) not in only and day in scored]


def outdated(days: Collection[date], *, only: Collection[str], holds: Callable[[date], bool]) -> list[date]:
    """Days of a run whose summaries are made anew: from the first asked for on, and those that lack a late lead.

    Others stay: made again by today's model, a published figure would be another one.

    Args:
        days: of the run.
        only: days that are asked for (ISO 8601); empty: all.
        holds: whether the summary of a day still holds.
    """
    first = min((date.fromisoformat(day) for day in only), default=min(days))
    return [day for day in sorted(days) if day >= first or day == max(days) or not holds(day)]


def owed_days(deployment: Deployment, yesterday: date) -> list[date]:
    """Yesterday and the days before it that are owed, in order.

    A day is owed where the export did not reach it, where it was held back, where its scores could not be written, and
    where it was missed: not scored, but later than the first day that ever was.
    """
    owed = {
        *_since(deployment.provisional_days(deployment.provisional_tables), yesterday - timedelta(days=CATCH_UP_DAYS)),
        # As far back as missed days: after an outage a held day would else be open for ever.
        *_since(days_to_score(held_record(deployment)), yesterday - timedelta(days=MISSED_DAYS)),
        *_since(unpublished_days(deployment), yesterday - timedelta(days=MISSED_DAYS)),
        *missed_days(deployment, yesterday),
    }
    return sorted({day for day in owed if deployment.first_day <= day < yesterday} | {yesterday})


def _since(days: list[date], oldest: date) -> list[date]:
    return [day for day in days if day >= oldest]


def note_unpublished(deployment: Deployment, days: Collection[date], *, run_id: str) -> None:
    """Note before days are scored that their scores still have to go to the database; who noted a day first stands."""
    known = _unpublished(deployment)
    deployment.lake.write_json(UNPUBLISHED, {**{str(day): run_id for day in days}, **known})


def note_published(deployment: Deployment, days: Collection[date], *, kept_back_by: str = "") -> None:
    """Note that scores of days were written, or that a run kept them back on purpose.

    Args:
        deployment: the configuration.
        days: the days.
        kept_back_by: run that was asked not to write; a day that an earlier run owes stays owed.
    """
    gone = {
        str(day)
        for day in days
        if not kept_back_by or _unpublished(deployment).get(str(day), kept_back_by) == kept_back_by
    }
    left = {day: run for day, run in _unpublished(deployment).items() if day not in gone}
    deployment.lake.write_json(UNPUBLISHED, left)


def unpublished_days(deployment: Deployment) -> list[date]:
    """Days whose scores were neither written nor kept back on purpose."""
    return sorted(date.fromisoformat(day) for day in _unpublished(deployment))


def _unpublished(deployment: Deployment) -> dict[str, str]:
    return dict(deployment.lake.read_json(UNPUBLISHED) or {})


def missed_days(deployment: Deployment, yesterday: date) -> list[date]:
    """Days before yesterday that nobody scored, after the first one that somebody did."""
    written = deployment.lake.days("predictions")
    if not written:
        return []
    first = max(written[0], yesterday - timedelta(days=MISSED_DAYS))
    return sorted(set(days_between(first, yesterday - timedelta(days=1))) - set(written))


def incomplete_days(deployment: Deployment, *, scored_since: datetime | None = None) -> list[date]:
    """Days that were scored although something was missing; of those scored since a moment, where one is given."""
    return sorted(
        date.fromisoformat(key)
        for key, entry in held_record(deployment).items()
        if entry["status"] in ("overdue", "released")
        and "scored_at" in entry
        and (scored_since is None or datetime.fromisoformat(entry["scored_at"]) >= scored_since)
    )


def held_record(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What is remembered of days whose inputs were incomplete."""
    return dict(deployment.lake.read_json(HELD) or {})
