"""Telling what changed, once: from the alerts of a run to the memory of alerts, the outbox and the channels.

Belongs here: the order of these steps, and who waits for whom. Does not belong here: what is new (``alert_state.py``),
the words, or the protocols.

A process may die between any two steps, and the repeat may find other alerts than the run that died.

1. The new memory and the messages that follow from it are one file, replaced at once: before that nothing happened,
   afterwards everything is decided.
2. The messages go into the outbox under their ids, and only then leave that file. Whoever comes next repeats this
   first; nothing is sent before it is done. So each message gets into the outbox exactly once.
3. A message leaves the outbox once it was taken. A death in between sends it again with the same id, which every
   protocol carries (``Idempotency-Key``, ``Message-ID``).

Steps 1 and 2 touch only files of the home and take milliseconds; sending may take minutes where a channel is down. They
have a lock each, so that nobody's alerts go unnoticed because another one is still sending.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.monitoring.alert_rules_operation import undelivered_alerts
from elv_pipeline.monitoring.alert_state import AlertChanges, read_state, update, write_state
from elv_pipeline.publishing.alerting.channels import Delivery, channel_key, deliver, messages
from elv_pipeline.publishing.alerting.delivery import Attempts
from elv_pipeline.publishing.alerting.outbox import Outbox, Waiting, waiting_of
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline.settings_operation import Channel

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Who tells: the places and channels of one configuration.

    Attributes:
        configuration: its name.
        place: file of the memory of alerts.
        channels: whom to tell.
        patience_seconds: how long to wait for another one who remembers, or who sends.
    """

    configuration: str
    place: Path
    channels: Sequence[Channel]
    patience_seconds: float = 60.0

    @property
    def outbox(self) -> Outbox:
        """Where messages wait."""
        return Outbox(self.place.parent / "outbox" / self.configuration)

    @property
    def lock(self) -> Path:
        """Held while memory and outbox are brought forward."""
        return self.place.with_suffix(".lock")

    def remember(
        self,
        found: Sequence[Mapping[str, Any]],
        *,
        run_id: str,
        now: datetime,
        judged: Collection[str] | None = None,
    ) -> AlertChanges:
        """Decide what is to be told, and put it into the outbox. Atomic; a repetition with the same alerts is silent.

        Args:
            found: the alerts that are open now.
            run_id: the run that found them.
            now: the present moment, UTC.
            judged: codes about which the caller can speak; None for all, those of the channels included.

        Raises:
            ElvError: another process has held the memory for longer than the patience, or it is not readable.
        """
        with alone(self.lock, patience_seconds=self.patience_seconds) as held:
            if not held:
                raise ElvError(
                    f"{self.lock}: another process has held it for {self.patience_seconds:.0f} s, so new alerts of "
                    f"{self.configuration} were neither remembered nor told. Find the process that hangs, end it, and "
                    f"run the command again."
                )
            state = self._handed_over()
            lost = self.outbox.lost() if judged is None else []
            stuck = undelivered_alerts(self.outbox.stuck(), expired=len(lost)) if judged is None else []
            new, changes = update(state, [*found, *documents(stuck)], now=now, judged=judged)
            outgoing = self._messages(changes, state, run_id=run_id, now=now)
            decided: dict[str, Any] = {"channels": sorted(map(channel_key, self.channels))}
            if outgoing:
                decided["outgoing"] = [message.as_dict() for message in outgoing]
            write_state(self.place, {**new, **decided})  # before it nothing has happened, after it all is decided
            self._handed_over()
            self.outbox.settle(lost)
            return changes

    def send(
        self, *, environment: Mapping[str, str], now: datetime, attempts: Attempts | None = None
    ) -> list[Delivery]:
        """Send what waits. Where another one is sending, it is left to that one, which looks again before it ends.

        Args:
            environment: the environment variables.
            now: the present moment, UTC.
            attempts: how often and how patiently.
        """
        with alone(self.outbox.lock, patience_seconds=self.patience_seconds) as held:
            if held:
                return deliver(
                    channels=self.channels,
                    outbox=self.outbox,
                    environment=environment,
                    now=now,
                    attempts=attempts,
                    listed=self._listed,
                )
        _LOG.warning("%s: another process is sending alerts; what is new waits in the outbox", self.configuration)
        return []

    def _messages(
        self, changes: AlertChanges, state: Mapping[str, Any], *, run_id: str, now: datetime
    ) -> list[Waiting]:
        """What each channel is told; one that was added since the last time also hears what is open already."""
        known = state.get("channels", [channel_key(channel) for channel in self.channels])
        still_open = [("open", alert) for alert in changes.still_open]
        return [
            message
            for channel in self.channels
            for message in messages(
                [*changes.to_tell(), *([] if channel_key(channel) in known else still_open)],
                channels=[channel],
                configuration=self.configuration,
                run_id=run_id,
                now=now,
            )
        ]

    def _handed_over(self) -> Mapping[str, Any]:
        """The memory, once what it holds for the outbox is there. Idempotent; needs the lock."""
        state = read_state(self.place)
        if "outgoing" not in state:
            return state
        for document in state["outgoing"]:
            self.outbox.put(waiting_of(document))
        left = {name: value for name, value in state.items() if name != "outgoing"}
        write_state(self.place, left)
        return left

    def _listed(self) -> list[Waiting]:
        """What waits; never a message that is not safely in the outbox, or it might be put there once more."""
        with alone(self.lock, patience_seconds=self.patience_seconds) as held:
            if not held:
                return []
            self._handed_over()
            return self.outbox.waiting()
