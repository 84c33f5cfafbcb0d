"""Append-only records of what a person has allowed: who, why and when, one line of JSON each.

Belongs here: who may be named and what a reason is, adding a line, and reading all of them. Does not belong here: what
is allowed by it (``scores/targets.py``, ``registry/model_approvals.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elv_pipeline.errors import ConfigError

AUTOMATIC = "(automatic)"
"""Stands for a person where none is needed."""
_LEAST_REASON = 5


def require_person(*, who: str, reason: str, why: str) -> tuple[str, str]:
    """Name and reason of a person, without blanks around them.

    Args:
        who: the name.
        reason: the reason.
        why: what the reason has to explain, for the message.

    Raises:
        ConfigError: no name, or no reason.
    """
    if not who.strip() or who.strip() == AUTOMATIC:
        raise ConfigError("an approval needs the name of the person who gives it. Give --who.")
    if len(reason.strip()) < _LEAST_REASON:
        raise ConfigError(
            f"the reason {reason.strip()!r} is shorter than {_LEAST_REASON} characters; whoever audits this later has "
            f"nothing else. Give --reason '{why}'."
        )
    return who.strip(), reason.strip()


def append(file: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, on disk when this returns. Safe in several processes at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(dict(entry), sort_keys=True, ensure_ascii=False) + "\n"
    if file.is_file() and not (file.read_bytes() or b"\n").endswith(b"\n"):
        line = "\n" + line  # behind an unfinished line it would be unreadable, too
    # One write at the end of the file: two processes never mix their lines.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode("utf-8"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(file: Path) -> list[dict[str, Any]]:
    """Every line, oldest first. A line that a killed process left unfinished approves nothing."""
    if not file.is_file():
        return []
    found = []
    # Not splitlines: a reason may hold other ends of lines, such as U+2028, and JSON writes them as they are.
    for line in file.read_text(encoding="utf-8").split("\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found
