"""Erasing one lead from a home: what is ours, what is not, and the search that proves it.

Belongs here: the order of steps, and the report. Does not belong here: whose a file is (``places.py``), finding and
removing an id in one file (``traces.py``), or keeping a lead from coming back (``elv_pipeline.forgotten``).

The tombstone comes first, so that a lead cannot return while it is being erased; a killed erasure is finished by
running it again. Nothing else may write the home meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from sqlalchemy import Engine

from elv_pipeline.errors import ConfigError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.ingest.extracts.snapshots import is_snapshot_name, manifest_of, manifest_path
from elv_pipeline.ingest.locations import is_url
from elv_pipeline.privacy import hasher_of
from elv_pipeline.publishing.erasure.forget_scores import count_scores, delete_scores, score_databases
from elv_pipeline.publishing.erasure.people import all_ids_of
from elv_pipeline.publishing.erasure.places import files_of, is_ours, names_of, owner_of, source_files
from elv_pipeline.publishing.erasure.sought import ERASED, LEAD_COLUMNS, Sought
from elv_pipeline.publishing.erasure.traces import (
    clean_free_pages,
    count_in,
    erase_from,
    is_rewritable,
    why_not_rewritable,
)
from elv_pipeline.publishing.run_registry import drop_checksum
from elv_pipeline.settings import PipelineConfig

AGGREGATES = (
    "Leaderboards, drift, metrics, labels by week and models were computed from many leads; they stay as they are and "
    "cannot be traced to one."
)

_LEFT = "in a value that is not text, of another organisation, or written meanwhile: run it again, then look into it"
_NAMED = "its path spells the id: rename or delete it"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file in which the id was found.

    Attributes:
        file: relative to the home, or absolute outside it.
        places: rows, values or places that name the lead.
        why: why it is left.
    """

    file: str
    places: int
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ForgetReport:
    """What an erasure did; it names no id.

    Attributes:
        configuration: whose lead it was.
        at: when, ISO 8601, UTC.
        who: who asked for it.
        tombstones: how many erased ids are kept out from now on.
        erased: files that were rewritten.
        score_rows: rows deleted from each table of scores.
        searched: files searched afterwards in each folder of the home.
        remaining: files of ours in which the id still stands; none in a complete erasure.
        not_ours: exports and other organisations' files that hold the id and were left.
        notes: what a person should know besides.
    """

    configuration: str
    at: str
    who: str
    tombstones: int
    erased: tuple[Place, ...]
    score_rows: dict[str, int]
    searched: dict[str, int]
    remaining: tuple[Place, ...]
    not_ours: tuple[Place, ...]
    notes: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Whether nothing of ours names the lead any more."""
        return not self.remaining


def forget(
    home: Home, config: PipelineConfig, entity_id: str, *, scores: Engine | None, who: str, now: datetime
) -> ForgetReport:
    """Erase a lead from everything that this home holds of it, keep it out, and search for what is left.

    Of outreach, a contact with all its enrollments, or one enrollment, and with them the moments that were scored.

    Args:
        home: the state folder; nothing else may write it meanwhile.
        config: whose lead it is; rows of other organisations stay. Of targets that share their tables any one will do.
        entity_id: the id as the exports have it, or as it is stored.
        scores: database of the scores; None: there is none. The scores that the home keeps itself are erased
            anyway: they may be of the time before there was a database.
        who: the person who asks for it, for the record.
        now: moment of the erasure, UTC.

    Raises:
        ConfigError: no id, or ids are hashed and there is no key.
        SourceError: the database of scores cannot be reached or refuses; no file was changed.
    """
    names = names_of(home, config)
    sought = _sought(home, config, entity_id, names)
    tombstones = _keep_out(home, config, sought)
    # Scores first: a database that cannot be reached is found out before anything was erased.
    deleted = Counter[str]()
    with score_databases(home, scores) as databases:
        for engine in databases:
            deleted.update(delete_scores(engine, org_id=config.org_id, ids=sought.ids))
    sources = source_files(config)
    for file in files_of(home):
        if is_ours(home, names, file, sources):
            clean_free_pages(file, sought)
    plan = _planned(home, config, sought, names)
    erased = _erase(home, plan, sought)
    _finish(home, config, plan, at=now)
    remaining, not_ours, searched = _search(home, config, sought, names)
    if scores is not None and (left := count_scores(scores, org_id=config.org_id, ids=sought.ids)):
        remaining = (*remaining, Place(file="the database of scores", places=left, why="written meanwhile"))
    report = ForgetReport(
        configuration=config.name,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
        who=who,
        tombstones=tombstones,
        erased=erased,
        score_rows=dict(deleted),
        searched=searched,
        remaining=remaining,
        not_ours=(*not_ours, *_exports_outside(home, config, sought)),
        notes=tuple(_notes(home, config, sought, scores)),
    )
    _record(home, report)
    return report


def _sought(home: Home, config: PipelineConfig, entity_id: str, names: frozenset[str]) -> Sought:
    name = entity_id.strip()
    if not name:
        raise ConfigError("no id was given; give the id of the lead as its export has it. Use --id <lead_id>.")
    hasher = hasher_of(config)
    hashed = hasher.text(name) if hasher is not None and set(LEAD_COLUMNS) & set(hasher.columns) else name
    ids = tuple(dict.fromkeys((name, hashed)))
    if config.problem == "outreach":
        known = Forgotten.load(forgotten_file(home, config.shared_name))
        ids = all_ids_of(home, ids, names=names, erased=known)
    return Sought(ids)


def _keep_out(home: Home, config: PipelineConfig, sought: Sought) -> int:
    file = forgotten_file(home, config.shared_name)
    known = Forgotten.load(file)
    further = known.with_ids(sought.ids)
    if further.tombstones != known.tombstones:
        further.save(file)
    return len(further.tombstones)


# ------------------------------------------------------------------------------------------------------------- erasing


def _journal(home: Home, config: PipelineConfig) -> Path:
    return home.root / "forgotten" / f"{config.shared_name}.unfinished.json"


def _planned(home: Home, config: PipelineConfig, sought: Sought, names: frozenset[str]) -> list[Path]:
    """Files to rewrite, and those of an erasure that was cut short: their manifests may not be up to date."""
    sources, own = source_files(config), {forgotten_file(home, config.shared_name), _journal(home, config)}
    found = [
        file
        for file in files_of(home)
        if file not in own
        and file != home.root / "scores.db"
        and is_ours(home, names, file, sources)
        and count_in(file, sought)
        and is_rewritable(file)
    ]
    journal = _journal(home, config)
    if journal.is_file():
        found += [home.root / name for name in json.loads(journal.read_text(encoding="utf-8"))]
    plan = [file for file in dict.fromkeys(found) if file.is_file()]
    write_atomically(journal, json.dumps([str(file.relative_to(home.root)) for file in plan], indent=1) + "\n")
    return plan


def _erase(home: Home, plan: Sequence[Path], sought: Sought) -> tuple[Place, ...]:
    erased = []
    for file in plan:
        places = erase_from(file, sought)
        erased.append(Place(file=str(file.relative_to(home.root)), places=places))
    return tuple(erased)


def _finish(home: Home, config: PipelineConfig, plan: Sequence[Path], *, at: datetime) -> None:
    """Bring the manifests of rewritten files up to date, and note in them that there was an erasure."""
    for folder in sorted({home.runs / file.relative_to(home.runs).parts[0] for file in _inside(plan, home.runs)}):
        _update_bundle(home, folder, [file for file in plan if folder in file.parents], at=at)
    for file in plan:
        if is_snapshot_name(file.name):
            _update_snapshot(file)
    _journal(home, config).unlink(missing_ok=True)


def _inside(files: Iterable[Path], folder: Path) -> list[Path]:
    return [file for file in files if folder in file.parents and file.parent != folder]


def _update_bundle(home: Home, folder: Path, changed: Sequence[Path], *, at: datetime) -> None:
    manifest = folder / "metadata.json"
    if not manifest.is_file():
        return
    document = json.loads(manifest.read_text(encoding="utf-8"))
    names = sorted(str(file.relative_to(folder)) for file in changed)
    for name in names:
        if name in document["checksums"]:
            document["checksums"][name] = _digest(folder / name)
        document.get("content_checksums", {}).pop(name, None)  # of rows that are not all there any more
    noted = {"at": at.astimezone(UTC).isoformat(timespec="seconds"), "files": names}
    document["erasures"] = [*document.get("erasures", []), noted]
    write_atomically(manifest, json.dumps(document, indent=2, sort_keys=True) + "\n")
    if "predictions.csv" in names:
        drop_checksum(home, folder.name)


def _update_snapshot(file: Path) -> None:
    manifest = manifest_of(file)
    if manifest is None:
        return
    digest, rows = _digest(file), int(pl.scan_parquet(file).select(pl.len()).collect().item())
    # What the content digest was made of is not there any more; no later extract may count as "the same as before".
    new = replace(manifest, sha256=digest, rows=rows, content=f"erased-{digest[:32]}")
    write_atomically(manifest_path(file), new.to_json())
    record = file.parent.parent / manifest.together if manifest.together else None
    if record is not None and record.is_file():
        document: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        entry = document["tables"].get(manifest.table)
        if entry and entry["file"] == file.name:
            entry.update(sha256=digest, rows=rows)
            write_atomically(record, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# ----------------------------------------------------------------------------------------------------------- the proof


def _search(
    home: Home, config: PipelineConfig, sought: Sought, names: frozenset[str]
) -> tuple[tuple[Place, ...], tuple[Place, ...], dict[str, int]]:
    """Look into every file of the home, ours or not: bytes, rows, cells, values."""
    sources, searched = source_files(config), dict[str, int]()
    remaining: list[Place] = []
    not_ours: list[Place] = []
    for file in files_of(home):
        top = file.relative_to(home.root).parts[0]
        searched[top] = searched.get(top, 0) + 1
        name, named = str(file.relative_to(home.root)), _is_named(home, file, sought)
        places, owner = count_in(file, sought) + named, owner_of(home, file)
        if not places:
            continue
        if named:
            name = sought.pattern.sub(ERASED, name.replace("/", " / ").replace(".", " . "))
        if file.resolve() in sources and not is_snapshot_name(file.name):
            why = "an export that you keep; the lead is left out when it is read, delete it at its source"
            not_ours.append(Place(file=name, places=places, why=why))
        elif owner not in (None, *names):
            why = f"of configuration {owner}; forget the id there, too, if it is the same person"
            not_ours.append(Place(file=name, places=places, why=why))
        else:
            why = _NAMED if named else why_not_rewritable(file) or _LEFT
            remaining.append(Place(file=name, places=places, why=why))
    return tuple(remaining), tuple(not_ours), searched


def _is_named(home: Home, file: Path, sought: Sought) -> bool:
    """Whether the path of a file spells the id: none of ours does, but a person may put a file into a home."""
    if not sought.is_searched_in_text:
        return False
    return any(sought.in_text(text) for part in file.relative_to(home.root).parts for text in (part, Path(part).stem))


def _exports_outside(home: Home, config: PipelineConfig, sought: Sought) -> Iterator[Place]:
    for file in sorted(source_files(config)):
        if home.root not in file.parents and (places := count_in(file, sought)):
            why = "an export that you keep; the lead is left out when it is read, delete it at its source"
            yield Place(file=str(file), places=places, why=why)


def _notes(home: Home, config: PipelineConfig, sought: Sought, scores: Engine | None) -> Iterator[str]:
    yield AGGREGATES
    if not sought.is_searched_in_text:
        yield (
            "The id is so short that it stands by chance in texts; it was searched as a whole value (cells, JSON "
            "strings, cells of tables), not inside sentences."
        )
    if any(path and is_url(path) for path in config.paths.model_dump().values()):
        yield "Exports in object storage were not searched; they are not ours."
    if scores is not None and scores.dialect.name != "sqlite":
        yield "Backups and logs of the score database are kept by its server; erase them there."
    if _keeps_records_elsewhere(home):
        yield "Dagster keeps its records in a database of its own, which was not searched; its previews may name leads."
    yield "Backups of this home folder are not searched."


def _keeps_records_elsewhere(home: Home) -> bool:
    settings = home.dagster / "dagster.yaml"
    return settings.is_file() and "storage" in (yaml.safe_load(settings.read_text(encoding="utf-8")) or {})


def _record(home: Home, report: ForgetReport) -> None:
    """Append what was done to ``<home>/forgotten/erasures.jsonl``; it names no id."""
    file = home.root / "forgotten" / "erasures.jsonl"
    line = json.dumps({**asdict(report), "complete": report.proven}, sort_keys=True) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as record:
        record.write(line)
