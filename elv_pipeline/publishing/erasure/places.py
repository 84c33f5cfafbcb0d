"""Which files of a home there are, and whose.

Belongs here: the layout of a home, read as ownership. Does not belong here: what a file says (``traces.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import is_snapshot_name
from elv_pipeline.ingest.locations import is_url, locate
from elv_pipeline.settings import PipelineConfig

PER_CONFIGURATION = (
    "lake",
    "intake",
    "extracts",
    "models",
    "mlartifacts",
    "validation",
    "monitoring",
    "alerts",
    "proposals",
    "configurations",
)
"""Folders of a home whose entries begin with the name of a configuration."""
OUTBOX = "outbox"
"""Folder of ``alerts`` with one folder a configuration."""
_ENDINGS = (".json", ".html", ".lock")


def files_of(home: Home) -> Iterator[Path]:
    """Every file of a home that could hold an id, in a fixed order."""
    for folder, folders, names in os.walk(home.root):
        folders.sort()
        for name in sorted(names):
            if not name.endswith(("-wal", "-shm", "-journal")):  # read through their database
                yield Path(folder) / name


def owner_of(home: Home, file: Path) -> str | None:
    """Name of the configuration that a file of a home belongs to; None: shared by all."""
    parts = file.relative_to(home.root).parts
    if parts[0] == "alerts" and parts[1] == OUTBOX and len(parts) > 3:
        return parts[2]
    if parts[0] in PER_CONFIGURATION and len(parts) > 1:
        name = parts[1]
        return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
    if parts[0] == "runs" and len(parts) > 2:
        manifest = home.runs / parts[1] / "metadata.json"
        return str(json.loads(manifest.read_text(encoding="utf-8"))["name"]) if manifest.is_file() else None
    return None


def source_files(config: PipelineConfig) -> set[Path]:
    """Local files of the exports, which are not ours to change."""
    found: set[Path] = set()
    for path in config.paths.model_dump().values():
        if not path or is_url(path):
            continue
        try:
            found |= {Path(file.location).resolve() for file in locate(path)}
        except ElvError:  # an export that is gone holds nothing
            continue
    return found


def names_of(home: Home, config: PipelineConfig) -> frozenset[str]:
    """Every name under which a home keeps what is known of the same people.

    Targets of one file share the tables that they are learned from, and each has rows and scores of its own.
    """
    if not config.family:
        return frozenset({config.name})
    family = {known.name for known in home.registered() if known.family == config.family}
    return frozenset({config.name, config.family, *family})


def is_ours(home: Home, names: frozenset[str], file: Path, sources: set[Path]) -> bool:
    """Whether a file is for these configurations to rewrite: their own or shared by all, and no export."""
    if is_snapshot_name(file.name):
        return owner_of(home, file) in names
    return file.resolve() not in sources and owner_of(home, file) in (None, *names)
