"""Messages that wait until a channel takes them.

Belongs here: keeping, listing and removing messages. Does not belong here: sending them (``channels.py``).

A message is written here before it is sent and removed once it was taken, so a run that is killed in between, or a
channel that is down, delays it instead of losing it. It may arrive twice; its id tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from elv_pipeline.home import write_atomically
from elv_pipeline.publishing.alerting.alert_message import AlertMessage, message_of

KEPT = timedelta(days=30)
"""An alert of last month helps nobody, and a channel that is repaired must not pour out a year."""


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


@dataclass(frozen=True)
class Outbox:
    """Folder of one configuration."""

    folder: Path

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
        """Forget a message that was taken or is too old. Idempotent."""
        (self.folder / waiting.name).unlink(missing_ok=True)

    def waiting(self) -> list[Waiting]:
        """Everything that waits, the oldest first."""
        found = (_read(path) for path in self.folder.glob("*.json"))
        return sorted((w for w in found if w is not None), key=lambda waiting: (waiting.since, waiting.name))

    def set_aside(self) -> list[str]:
        """Rename files that are not waiting messages, and return their names: one of them must not stop the others."""
        broken = [path for path in sorted(self.folder.glob("*.json")) if _read(path) is None]
        for path in broken:
            path.rename(path.with_suffix(".unreadable"))
        return [path.name for path in broken]

    def _write(self, path: Path, waiting: Waiting) -> None:
        document = {
            "channel": waiting.channel,
            "message": waiting.message.as_dict(),
            "since": waiting.since.isoformat(),
            "tries": waiting.tries,
            "reason": waiting.reason,
        }
        write_atomically(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> Waiting | None:
    """The message in a file; None where it is not one."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Waiting(
            channel=document["channel"],
            message=message_of(document["message"]),
            since=datetime.fromisoformat(document["since"]),
            tries=int(document["tries"]),
            reason=document["reason"],
        )
    except (ValueError, KeyError, TypeError):
        return None
