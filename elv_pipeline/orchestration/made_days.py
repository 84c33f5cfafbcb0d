"""Which days of a shared table were made of the present tables, so that each target need not make them again.

Belongs here: the note beside the table, and comparing it. Does not belong here: making anything.

The jobs of each target hold the shared assets, so that each can run alone. What is noted is everything that decides a
day's content; a day whose file is gone, or that was made of anything else, is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date

from elv_pipeline import __version__
from elv_pipeline.orchestration.outreach_deployment import OutreachDeployment


def made_of(deployment: OutreachDeployment) -> str:
    """Digest of what decides the content of moments and their features."""
    parts = {
        "tables": deployment.document()["version"],
        "reach": deployment.moments_until().isoformat(),
        "observed_until": deployment.observed_until().isoformat(),
        "recipe": deployment.recipe(),
        "code": __version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def days_to_make(deployment: OutreachDeployment, table: str, days: Iterable[date]) -> list[date]:
    """Those of some days that are not there, or were made of something else."""
    lake, present = deployment.shared_lake, made_of(deployment)
    known, written = lake.read_json(_note(table)) or {}, set(lake.days(table))
    return [day for day in days if day not in written or known.get(day.isoformat()) != present]


def note_made(deployment: OutreachDeployment, table: str, days: Iterable[date]) -> None:
    """Remember of what days were made."""
    lake, present = deployment.shared_lake, made_of(deployment)
    known = lake.read_json(_note(table)) or {}
    lake.write_json(_note(table), {**known, **{day.isoformat(): present for day in days}})


def _note(table: str) -> str:
    return f"made/{table}"
