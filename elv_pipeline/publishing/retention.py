"""Removing what is old and what nothing needs any more, and saying how much that freed.

Belongs here: snapshots, bundles, cached files, pages, broken messages and leftovers of one home. Does not belong here:
Dagster's event log (``orchestration/old_runs.py``), or erasing one lead (``erasure/forget.py``).

Never removed, however old: the lake, models and registry, the newest snapshot of a table and those of days that the
lake does not hold yet, and of each model that scores, challenges or waits for approval the bundle of its training and
its newest bundle. Each thing is removed whole or stays; a second purge finishes what a killed one began.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import Snapshot, purge_snapshots, remove_abandoned, snapshots_in
from elv_pipeline.ingest.outreach_files import still_needed
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.publishing.alerting.outbox import TOLD
from elv_pipeline.publishing.run_registry import remove_runs
from elv_pipeline.settings import PipelineConfig

Kind = Literal["snapshot", "bundle", "cached export", "page", "broken message", "leftover"]
_ABANDONED_AFTER = timedelta(days=1)
_DAILY = ("leads", "ads", "outcomes", "ads_placement", "ads_geo")
"""Tables whose partitions of the lake show which days were read."""
_SHARED = ("alerts", "configurations", "forgotten", "monitoring", "validation")
"""Folders with small files of every configuration, which are all written beside their place first."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """One thing that went, or would go in a dry run.

    Attributes:
        kind: what it is.
        name: path relative to the home.
        size: bytes.
    """

    kind: Kind
    name: str
    size: int


@dataclass(frozen=True, kw_only=True)
class PurgeReport:
    """What a purge removed.

    Attributes:
        dry_run: whether it only says what would go.
        removed: each thing.
        kept_bundles: old bundles that stay, with the reason.
    """

    dry_run: bool
    removed: tuple[Removed, ...]
    kept_bundles: Mapping[str, str]

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.removed)

    def counts(self) -> dict[str, int]:
        """Number of things by kind."""
        found: dict[str, int] = {}
        for item in self.removed:
            found[item.kind] = found.get(item.kind, 0) + 1
        return found


def purge(
    home: Home,
    config: PipelineConfig,
    *,
    older_than: int | None,
    protected_versions: Collection[str],
    now: datetime,
    dry_run: bool = False,
) -> PurgeReport:
    """Remove what is older than the retention of a configuration. Idempotent.

    Args:
        home: the state folder.
        config: whose things; others' stay.
        older_than: days, for everything; None: ``retention`` of the configuration.
        protected_versions: versions of the champion, the challenger and the candidates that wait for approval.
        now: moment of the purge.
        dry_run: only say what would go.
    """
    snapshots = now - timedelta(days=older_than or config.retention.snapshots_days)
    bundles = now - timedelta(days=older_than or config.retention.bundles_days)
    removed = [*_snapshots(home, config, before=snapshots, now=now, dry_run=dry_run)]
    kept: dict[str, str] = {}
    removed += _bundles(home, config, before=bundles, protected=protected_versions, kept=kept, dry_run=dry_run)
    removed += _cached(home, config, now=now, dry_run=dry_run)
    removed += _pages(home, config, before=bundles, dry_run=dry_run)
    removed += _messages(home, config, before=bundles, dry_run=dry_run)
    removed += _leftovers(home, config, now=now, dry_run=dry_run)
    return PurgeReport(dry_run=dry_run, removed=tuple(removed), kept_bundles=kept)


# ---------------------------------------------------------------------------------------------------------- snapshots


def _snapshots(
    home: Home, config: PipelineConfig, *, before: datetime, now: datetime, dry_run: bool
) -> Iterator[Removed]:
    root = _extracts(home, config)
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        known = snapshots_in(folder)
        if config.problem == "outreach":  # no table of the lake holds their days: every run reads them anew
            limit, keep = before, _with_a_say(known, config)
        else:
            limit, keep = _read_until(home, config, known, table=folder.name, before=before), set()
        sizes = {found.path: found.path.stat().st_size for found in known}
        for found in purge_snapshots(folder, recorded_before=limit, dry_run=dry_run, keep=keep):
            yield _removed(home, found.path, kind="snapshot", size=sizes[found.path])
        if not dry_run:
            for name in remove_abandoned(folder, now=now.timestamp()):
                yield _removed(home, folder / name, kind="leftover", size=0)


def _extracts(home: Home, config: PipelineConfig) -> Path:
    """Folder of the snapshots of all tables, which targets of one file may share."""
    placed, table = home.placed(config), next(iter(config.extracts.queries), None)
    return Path(placed.paths.of(table)).parent if table else home.extracts(config.name)


def _with_a_say(snapshots: Sequence[Snapshot], config: PipelineConfig) -> set[str]:
    """Names of snapshots that the cleaned tables of outreach are made of."""
    needed = still_needed([found.manifest for found in snapshots], config=config)
    return {found.path.name for found, is_needed in zip(snapshots, needed, strict=True) if is_needed}


def _read_until(
    home: Home, config: PipelineConfig, snapshots: Iterable[Snapshot], *, table: str, before: datetime
) -> datetime:
    """Up to which moment of recording snapshots may go: those of days that the lake does not hold were never read."""
    if table not in _DAILY:
        return before
    in_lake = set(Lake(home.lake(config.name)).days(table))
    for found in snapshots:
        covered = found.manifest.covered_days(config.zone)
        days = set(days_between(*covered)) if covered else set()
        if config.start_date is not None:
            days = {day for day in days if day >= config.start_date}
        if days - in_lake:
            return min(before, found.manifest.recorded_at)
    return before


# ------------------------------------------------------------------------------------------------------------ bundles


def _bundles(
    home: Home,
    config: PipelineConfig,
    *,
    before: datetime,
    protected: Collection[str],
    kept: dict[str, str],
    dry_run: bool,
) -> Iterator[Removed]:
    own = [(folder, document) for folder, document in _manifests(home) if document["name"] == config.name]
    needed = _needed(own, protected)
    for folder, document in own:
        if _written(document) >= before:
            continue
        if folder.name in needed:
            kept[folder.name] = needed[folder.name]
            continue
        yield _removed(home, folder, kind="bundle", size=_size(folder))
        if not dry_run:
            remove_runs(home, [folder.name])  # first: a row without its bundle would be listed and not be there
            _remove_whole(folder)


def _manifests(home: Home) -> list[tuple[Path, dict[str, Any]]]:
    """Complete bundles, oldest first."""
    found = [
        (file.parent, json.loads(file.read_text(encoding="utf-8"))) for file in home.runs.glob("[!.]*/metadata.json")
    ]
    return sorted(found, key=lambda bundle: (_written(bundle[1]), bundle[0].name))


def _written(document: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(document["utc_timestamp"]).astimezone(UTC)


def _needed(bundles: Iterable[tuple[Path, Mapping[str, Any]]], protected: Collection[str]) -> dict[str, str]:
    """Bundles of models in use: of each its training's, and its newest one, which stands for what it says now."""
    found: dict[str, str] = {}
    newest: dict[str, str] = {}
    for folder, document in bundles:
        version = str(document.get("model_version") or "")
        if version not in protected:
            continue
        newest[version] = folder.name
        if document["kind"] == "train":
            found[folder.name] = f"training of version {version}, which is in use"
    return {
        **{name: f"newest bundle of version {version}, which is in use" for version, name in newest.items()},
        **found,
    }


def _remove_whole(folder: Path) -> None:
    """Rename first: a bundle that is half removed would look like one that is broken."""
    doomed = folder.with_name(f".staging-{uuid4().hex[:12]}")
    folder.replace(doomed)
    shutil.rmtree(doomed)


# ------------------------------------------------------------------------------------------------- caches, pages, rest


def _cached(home: Home, config: PipelineConfig, *, now: datetime, dry_run: bool) -> Iterator[Removed]:
    """Parsed rows that no index names, and rows of local exports that are gone."""
    for folder in sorted(path for path in home.intake(config.name).glob("*") if path.is_dir()):
        index = folder / "index.json"
        entries: dict[str, Any] = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
        needed = {entry["rows"] for place, entry in entries.items() if "://" in place or Path(place).is_file()}
        for file in sorted(folder.glob("*.parquet")):
            if file.name not in needed and _is_older(file, now - _ABANDONED_AFTER):
                yield from _unlinked(home, file, kind="cached export", dry_run=dry_run)


def _pages(home: Home, config: PipelineConfig, *, before: datetime, dry_run: bool) -> Iterator[Removed]:
    page = home.validation_page(config.name)
    if page.is_file() and _is_older(page, before):
        yield from _unlinked(home, page, kind="page", dry_run=dry_run)


def _messages(home: Home, config: PipelineConfig, *, before: datetime, dry_run: bool) -> Iterator[Removed]:
    """Files of the outbox that were no messages, once somebody was told of them."""
    for file in sorted((home.alert_state(config.name).parent / "outbox" / config.name).glob(f"*{TOLD}")):
        if _is_older(file, before):
            yield from _unlinked(home, file, kind="broken message", dry_run=dry_run)


def _leftovers(home: Home, config: PipelineConfig, *, now: datetime, dry_run: bool) -> Iterator[Removed]:
    """What killed runs left under names that nothing reads; no write takes a day."""
    limit = now - _ABANDONED_AFTER
    own = (folder(config.name) for folder in (home.lake, home.intake, home.models, home.extracts))
    for root in (home.runs, *own, *(home.root / name for name in _SHARED)):
        for path in sorted([*root.glob("**/.staging-*"), *root.glob("**/.*.staged")]):
            if not path.exists() or not _is_older(path, limit):
                continue
            if path.is_dir():
                yield _removed(home, path, kind="leftover", size=_size(path))
                if not dry_run:
                    shutil.rmtree(path)
            else:
                yield from _unlinked(home, path, kind="leftover", dry_run=dry_run)


def _unlinked(home: Home, file: Path, *, kind: Kind, dry_run: bool) -> Iterator[Removed]:
    yield _removed(home, file, kind=kind, size=file.stat().st_size)
    if not dry_run:
        file.unlink(missing_ok=True)


def _removed(home: Home, path: Path, *, kind: Kind, size: int) -> Removed:
    return Removed(kind=kind, name=str(path.relative_to(home.root)), size=size)


def _is_older(path: Path, limit: datetime) -> bool:
    return path.stat().st_mtime < limit.timestamp()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
