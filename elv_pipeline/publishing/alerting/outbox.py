"""Messages that wait until a channel takes them.

Belongs here: keeping, listing and giving up messages. Does not belong here: which there are (``telling.py``) or sending
them (``channels.py``).

A message is written here before it is sent and removed once it was taken, so a run that is killed in between, or a
channel that is down, delays it instead of losing it. One that was taken and could not be removed any more is sent
again; it has the same id. What was given up stays, under another name, until somebody was told of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from elv_pipeline.home import write_atomically
from elv_pipeline.publishing.alerting.alert_message import AlertMessage, message_of

KEPT = timedelta(days=30)
"""An alert of last month helps nobody, and a channel that is repaired must not pour out a year."""
GIVEN_UP, UNREADABLE, TOLD = ".given-up", ".unreadable", ".told"
"""Suffixes of messages that will not be sent: too old, broken, and broken with somebody knowing."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message in the outbox.

    Attributes:
        channel: key of the channel.
        message: what to say.
        since: when it was put there (UTC).
        tries: runs that tried in vain.
        reason: why the last one did not deliver it; empty at first.
    """

    channel: str
    message: AlertMessage
    since: datetime
    tries: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of its file; the same message for the same channel is one file."""
        return f"{self.channel}-{self.message.id}.json"

    def is_expired(self, *, now: datetime) -> bool:
        """Whether it is too old to be of use."""
        return now - self.since > KEPT

    def as_dict(self) -> dict[str, Any]:
        """Its file, and its entry in the state of alerts until it has one."""
        return {
            "channel": self.channel,
            "message": self.message.as_dict(),
            "since": self.since.isoformat(),
            "tries": self.tries,
            "reason": self.reason,
        }


def waiting_of(document: Mapping[str, Any]) -> Waiting:
    """Read what ``as_dict`` wrote."""
    return Waiting(
        channel=document["channel"],
        message=message_of(document["message"]),
        since=datetime.fromisoformat(document["since"]),
        tries=int(document["tries"]),
        reason=document["reason"],
    )


@dataclass(frozen=True)
class Outbox:
    """Folder of one configuration."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held by whoever sends: two would send the same message."""
        return self.folder / ".sending"

    def put(self, waiting: Waiting) -> None:
        """Keep a message; one that waits already keeps its place. Atomic and idempotent."""
        path = self.folder / waiting.name
        if not path.is_file():
            self._write(path, waiting)

    def failed(self, waiting: Waiting, *, reason: str) -> Waiting:
        """Note a vain attempt. Atomic."""
        noted = replace(waiting, tries=waiting.tries + 1, reason=reason)
        self._write(self.folder / waiting.name, noted)
        return noted

    def remove(self, waiting: Waiting) -> None:
        """Forget a message that was taken. Idempotent."""
        (self.folder / waiting.name).unlink(missing_ok=True)

    def give_up(self, waiting: Waiting) -> None:
        """Send a message no more, and remember that until somebody was told. Atomic."""
        path = self.folder / waiting.name
        path.rename(path.with_suffix(GIVEN_UP))

    def waiting(self) -> list[Waiting]:
        """Everything that waits, the oldest first."""
        found = (_read(path) for path in self.folder.glob("*.json"))
        return sorted((w for w in found if w is not None), key=lambda waiting: (waiting.since, waiting.name))

    def stuck(self) -> dict[str, int]:
        """By channel, messages that were tried in vain."""
        return dict(Counter(waiting.channel for waiting in self.waiting() if waiting.tries))

    def set_aside(self) -> list[str]:
        """Rename files that are not waiting messages, and return their names: one of them must not stop the others."""
        broken = [path for path in sorted(self.folder.glob("*.json")) if _read(path) is None]
        for path in broken:
            path.rename(path.with_suffix(UNREADABLE))
        return [path.name for path in broken]

    def lost(self) -> list[str]:
        """Names of messages that were given up, and of which nobody was told."""
        return sorted(path.name for path in self.folder.glob("*") if path.suffix in (GIVEN_UP, UNREADABLE))

    def settle(self, lost: Sequence[str]) -> None:
        """Somebody was told of these. Broken files stay for whoever wants to look. Idempotent."""
        for path in (self.folder / name for name in lost):
            if path.suffix == GIVEN_UP:
                path.unlink(missing_ok=True)
            elif path.is_file():
                path.rename(path.with_suffix(TOLD))

    def _write(self, path: Path, waiting: Waiting) -> None:
        write_atomically(path, json.dumps(waiting.as_dict(), indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> Waiting | None:
    """The message in a file; None where it is not one."""
    try:
        return waiting_of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return None
