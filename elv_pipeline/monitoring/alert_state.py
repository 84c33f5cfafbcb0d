"""Which alerts are open, and what people have been told, so that they are told only what changed.

Belongs here: the memory of alerts and the rule of what is new, worse, resolved or due for a reminder. Does not belong
here: rules (``alert_rules_*.py``) or sending (``publishing/alerting/channels.py``).

An alert is known by its code and subject. It is worse when its severity rises, or when its figure is half as far again
beyond its threshold and by at least a tenth of that, or half as much money more is at stake, as when it was last told.
Without the tenth, a figure barely above its threshold would be worse every morning. A figure that is an age grows by
itself and is worse only once it has doubled. An alert is resolved when a run that judged
its code no longer finds it: a critical one, and one that states a fact such as a held day, at once, another when it
stayed away on two days, so that a figure which wavers around its threshold does not write every morning.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from elv_pipeline.errors import ElvError
from elv_pipeline.home import write_atomically
from elv_pipeline.monitoring.alert import SEVERITIES

Document = Mapping[str, Any]
State = Mapping[str, Any]
"""``version`` and ``open``: by key the ``alert`` as last seen, ``first_seen``, ``told`` (the alert as last told),
``told_at``, and ``absent_since`` (a UTC day) where the last run that judged it did not find it. Besides
``channels``, whom alerts were told so far, and, while there are any, ``outgoing``: messages that are decided and not in
the outbox yet. They stand in the same file because
they are true together: a memory without its message would be a person who was not told, a message without its memory
one who is told twice."""

VERSION = 1
REMIND_AFTER = timedelta(days=7)
WORSE_FACTOR = 1.5
WORSE_SHARE = 0.1
"""Of the threshold, by which a figure must have moved away from it to be worse."""
AGES = frozenset({"table_not_refreshed", "candidates_keep_failing"})
"""Codes whose figure counts days or weeks."""
OLDER_FACTOR = 2.0
EVENTS = frozenset({"scored_on_incomplete_inputs"})
"""Codes of what happened once: nobody waits to hear that it no longer happens."""
FACTS = frozenset({"day_held", "export_not_found", "alerts_undelivered"})
"""Codes of what is so or not so: nothing about them wavers, and "held back" of a day that was scored is wrong."""
EMPTY: State = {"version": VERSION, "open": {}}


@dataclass(frozen=True, kw_only=True)
class AlertChanges:
    """What a run changed, each in the order in which alerts are read.

    Attributes:
        new: alerts that were not open.
        worse: open ones that became worse than they were told.
        resolved: open ones that are gone, as last seen.
        reminders: critical ones that nobody settled for a week.
        still_open: open ones about which there is nothing new.
    """

    new: tuple[dict[str, Any], ...] = ()
    worse: tuple[dict[str, Any], ...] = ()
    resolved: tuple[dict[str, Any], ...] = ()
    reminders: tuple[dict[str, Any], ...] = ()
    still_open: tuple[dict[str, Any], ...] = field(default=())

    def to_tell(self) -> list[tuple[str, dict[str, Any]]]:
        """What channels are told: pairs of ``new``, ``worse``, ``reminder`` or ``resolved`` and the alert."""
        named = (("new", self.new), ("worse", self.worse), ("reminder", self.reminders), ("resolved", self.resolved))
        return [(change, alert) for change, alerts in named for alert in alerts]


def update(
    state: State, alerts: Sequence[Document], *, now: datetime, judged: Collection[str] | None = None
) -> tuple[dict[str, Any], AlertChanges]:
    """Compare the alerts of a run with the open ones. The same alerts again on the same day change nothing.

    Args:
        state: as remembered; ``EMPTY`` at first.
        alerts: of the run (``severity``, ``code``, ``message``, ``action``, ...).
        now: moment of the run (UTC).
        judged: codes about which this run can speak; open alerts with other codes stay as they are. None for all.

    Returns:
        The new state and what changed.
    """
    found = _by_key(alerts)
    known: Mapping[str, Document] = state["open"]
    kept: dict[str, Any] = {}
    new, worse, reminders, resolved, still = [], [], [], [], []
    for key, alert in found.items():
        before = known.get(key)
        if before is None:
            new.append(alert)
            kept[key] = {"alert": alert, "first_seen": now.isoformat(), "told": alert, "told_at": now.isoformat()}
            continue
        if _is_worse(alert, told=before["told"]):
            worse.append(alert)
        elif alert["severity"] == "critical" and now - datetime.fromisoformat(before["told_at"]) >= REMIND_AFTER:
            reminders.append(alert)
        else:
            still.append(alert)
            kept[key] = _present(before, alert)
            continue
        kept[key] = {**_present(before, alert), "told": alert, "told_at": now.isoformat()}
    for key, before in known.items():
        if key in found:
            continue
        left = _absent(before, now=now) if judged is None or before["alert"]["code"] in judged else dict(before)
        if left is None:
            if before["alert"]["code"] not in EVENTS:
                resolved.append(before["alert"])
        else:
            still.append(before["alert"])
            kept[key] = left
    changes = AlertChanges(
        new=_ordered(new),
        worse=_ordered(worse),
        resolved=_ordered(resolved),
        reminders=_ordered(reminders),
        still_open=_ordered(still),
    )
    return {"version": VERSION, "open": dict(sorted(kept.items()))}, changes


def read_state(path: Path) -> State:
    """The remembered alerts; ``EMPTY`` where nothing was remembered.

    Raises:
        ElvError: the file is not one that this version can read.
    """
    if not path.is_file():
        return EMPTY
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ElvError(f"{path}: not readable as JSON ({error}). {_REMEDY}") from error
    if not isinstance(document, dict) or document.get("version") != VERSION or not isinstance(document["open"], dict):
        raise ElvError(f"{path}: not a record of open alerts of version {VERSION}. {_REMEDY}")
    return document


def write_state(path: Path, state: State) -> Path:
    """Replace the remembered alerts. Atomic and idempotent."""
    return write_atomically(path, json.dumps(state, indent=2, sort_keys=True) + "\n")


_REMEDY = "Delete the file: all open alerts are then told once more as new."


def _by_key(alerts: Iterable[Document]) -> dict[str, dict[str, Any]]:
    """Alerts by code and subject; of several with the same the gravest, of equals the first."""
    found: dict[str, dict[str, Any]] = {}
    for alert in sorted(alerts, key=lambda alert: SEVERITIES.index(alert["severity"])):
        found.setdefault(f"{alert['code']} {alert.get('subject', '')}".strip(), dict(alert))
    return found


def _present(before: Document, alert: Document) -> dict[str, Any]:
    return {**{name: value for name, value in before.items() if name != "absent_since"}, "alert": alert}


def _absent(before: Document, *, now: datetime) -> dict[str, Any] | None:
    """The entry of an alert that was not found; None where it counts as resolved."""
    since = before.get("absent_since", now.date().isoformat())
    settled = before["alert"]["severity"] == "critical" or before["alert"]["code"] in FACTS
    if settled or since < now.date().isoformat():
        return None
    return {**before, "absent_since": since}


def _is_worse(alert: Document, *, told: Document) -> bool:
    if alert["severity"] != told["severity"]:
        return SEVERITIES.index(alert["severity"]) < SEVERITIES.index(told["severity"])
    if alert["code"] in AGES:
        age, told_age = alert.get("figure"), told.get("figure")
        return age is not None and told_age is not None and age >= OLDER_FACTOR * told_age
    before, beyond = _beyond(told), _beyond(alert)
    if before is not None and beyond is not None and beyond >= WORSE_FACTOR * before and beyond > before:
        return beyond - before >= WORSE_SHARE * abs(float(alert["threshold"])) or _is_dearer(alert, told=told)
    return _is_dearer(alert, told=told)


def _is_dearer(alert: Document, *, told: Document) -> bool:
    money, told_money = alert.get("money"), told.get("money")
    return money is not None and told_money is not None and money > WORSE_FACTOR * told_money > 0


def _beyond(alert: Document) -> float | None:
    figure, threshold = alert.get("figure"), alert.get("threshold")
    return None if figure is None or threshold is None else abs(float(figure) - float(threshold))


def _ordered(alerts: Sequence[Document]) -> tuple[dict[str, Any], ...]:
    by_severity = sorted(alerts, key=lambda a: (SEVERITIES.index(a["severity"]), a["code"], str(a.get("subject", ""))))
    return tuple(dict(alert) for alert in by_severity)
