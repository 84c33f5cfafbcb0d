"""Which files a configured path means: one file, a folder of daily files, a glob, or the same in object storage.

Belongs here: finding files, their version and the moment in their name, and a local copy of a remote one. Does not
belong here: what is inside a file (``formats``, ``connectors``).
"""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from elv_pipeline.errors import ContractError, MissingExtraError
from elv_pipeline.ingest.extracts.snapshots import SnapshotManifest, is_snapshot_name, manifest_of

_TEXT = (".csv", ".tsv", ".tab", ".txt")
_COMPRESSED = ("", ".gz", ".bz2", ".zst", ".xz")
SUPPORTED: tuple[str, ...] = (
    *(text + packed for text in _TEXT for packed in _COMPRESSED),
    ".xlsx",
    ".xlsm",
    ".parquet",
    ".pq",
)
"""How the names of readable files end."""

_SUPPORTED_WORDS = ".csv, .tsv, .tab or .txt (also with .gz, .bz2, .zst or .xz), .xlsx, .xlsm, .parquet or .pq"
# What object stores call the thing that changes with a file's content, the most telling first.
_VERSION_KEYS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
_DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})([-_.]?)(\d{2})\2(\d{2})(?!\d)")
_TIME_AFTER_DATE = re.compile(r"[T_ ](\d{2})[-:._h]?(\d{2})(?:[-:._]?(\d{2}))?(Z)?(?!\d)")


@dataclass(frozen=True, kw_only=True)
class ExportFile:
    """One file that was found.

    Attributes:
        name: file name, as used in messages.
        location: absolute local path, or URL.
        size: bytes.
        version: changes when the content does: modification time and size, or what the object store offers.
    """

    name: str
    location: str
    size: int
    version: str

    @property
    def is_remote(self) -> bool:
        """Whether the file has to be fetched before it can be read."""
        return is_url(self.location)

    @cached_property
    def snapshot(self) -> SnapshotManifest | None:
        """What an extract noted about the file; None where it is no snapshot of one."""
        return None if self.is_remote else manifest_of(Path(self.location))

    def recorded_time(self, zone: ZoneInfo) -> datetime | None:
        """When the figures were exported, if the file's name says so; UTC.

        ``ads_2025-03-31.csv`` was exported at some time of that local day, so its figures count as known from the next
        midnight. ``ads_20250331T0600.csv`` names the moment itself. A name with two dates tells which days the file
        covers, not when it was exported, and says nothing.
        """
        found = {match.span(): day for match in _DATE_IN_NAME.finditer(self.name) if (day := _day(match))}
        if len(found) != 1:
            return None
        [((_, end), day)] = found.items()
        written = _TIME_AFTER_DATE.match(self.name, end)
        moment = _time(written) if written else None
        if moment is None:
            local = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
        else:
            local = datetime.combine(day, moment, tzinfo=UTC if written and written[4] else zone)
        return local.astimezone(UTC)

    @contextmanager
    def local(self) -> Iterator[Path]:
        """The file on this machine; a remote one is fetched to a temporary copy that is removed afterwards.

        Raises:
            ContractError: the file cannot be fetched.
        """
        if not self.is_remote:
            yield Path(self.location)
            return
        with tempfile.TemporaryDirectory(prefix="elv-export-") as folder:
            copy = Path(folder) / self.name
            with _reported(self.location):
                system, path = _file_system(self.location)
                system.get_file(path, str(copy))
            yield copy


def is_url(path: str) -> bool:
    """Whether a configured path is an address such as ``s3://bucket/ads.csv`` rather than a local path."""
    return "://" in path


def locate(path: str, *, table: str | None = None) -> list[ExportFile]:
    """Find the files that a configured path means, sorted by name.

    Args:
        path: a file, a folder (its readable files; hidden ones and subfolders are left out), a glob such as
            ``exports/ads_*.csv`` (``**`` for subfolders), or a URL of any of these.
        table: the table they should hold, for messages.

    Raises:
        ContractError: nothing is there, or nothing that can be read.
        MissingExtraError: the package for a remote address is not installed.
    """
    remedy = f"Correct paths.{table}_path or export it." if table else "Correct the path."
    holds = f"it should hold {table}" if table else "an export is needed"
    if is_url(path):
        return _locate_remote(path, holds=holds, remedy=remedy)
    local = Path(path)
    if local.is_file():
        _require_supported(local.name, remedy=remedy)
        _require_complete(local, remedy=remedy)
        return [_local_file(local)]
    if local.is_dir():
        return _readable((_local_file(file) for file in local.iterdir() if file.is_file()), place=path, remedy=remedy)
    if not glob.has_magic(path):
        raise ContractError(f"{path}: no such file or folder; {holds}. {remedy}")
    fixed = next(count for count, part in enumerate(local.parts) if glob.has_magic(part))
    matches = Path(*local.parts[:fixed]).glob("/".join(local.parts[fixed:]))
    return _readable((_local_file(file) for file in matches if file.is_file()), place=path, remedy=remedy)


def _local_file(file: Path) -> ExportFile:
    status = file.stat()
    version = f"{status.st_mtime_ns}-{status.st_size}"
    return ExportFile(name=file.name, location=str(file.absolute()), size=status.st_size, version=version)


def _locate_remote(url: str, *, holds: str, remedy: str) -> list[ExportFile]:
    system, path = _file_system(url)
    with _reported(url):
        if glob.has_magic(path):
            infos: Mapping[str, Any] = system.glob(path, detail=True)
            return _readable(_remote_files(system, infos.values()), place=url, remedy=remedy)
        if not system.exists(path):
            raise ContractError(f"{url}: no such file or folder; {holds}. {remedy}")
        if system.isdir(path):
            return _readable(_remote_files(system, system.ls(path, detail=True)), place=url, remedy=remedy)
        _require_supported(PurePosixPath(path).name, remedy=remedy)
        return list(_remote_files(system, [system.info(path)]))


def _remote_files(system: Any, infos: Iterable[Mapping[str, Any]]) -> Iterator[ExportFile]:
    for info in infos:
        if info["type"] != "file":
            continue
        size = int(info["size"] or 0)
        changed = next((info[key] for key in _VERSION_KEYS if info.get(key)), "")
        yield ExportFile(
            name=PurePosixPath(info["name"]).name,
            location=system.unstrip_protocol(info["name"]),
            size=size,
            version=f"{str(changed).strip(chr(34))}-{size}",
        )


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(
            f"{url}: reading {url.split('://', 1)[0]}:// needs a package that is not installed ({error}): "
            f"pip install 'elv-pipeline[remote]'"
        ) from error
    except ValueError as error:
        raise ContractError(
            f"{url}: {error}. Write a local path, or an address that begins with s3://, gs://, az:// or abfs://."
        ) from error
    return system, str(path)


@contextmanager
def _reported(url: str) -> Iterator[None]:
    """Errors of storage libraries as one sentence: each raises types of its own, which share no ancestor."""
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(
            f"{url}: cannot be reached ({type(error).__name__}: {error}). Check the address, the network and the "
            f"credentials of this machine."
        ) from error


def _readable(files: Iterable[ExportFile], *, place: str, remedy: str) -> list[ExportFile]:
    seen = [file for file in files if not file.name.startswith((".", "~$"))]
    readable = (file for file in seen if _is_supported(file.name) and not _is_incomplete(file))
    found = sorted(readable, key=lambda file: file.location)
    if found:
        return found
    if not seen:
        raise ContractError(f"{place}: no file there (or none that matches). {remedy}")
    names = ", ".join(sorted(file.name for file in seen)[:3])
    raise ContractError(f"{place}: no readable file among {len(seen)} ({names}); readable are {_SUPPORTED_WORDS}.")


def _is_incomplete(file: ExportFile) -> bool:
    """Whether a killed extract left the file: its manifest, which comes last, is not there."""
    return is_snapshot_name(file.name) and not file.is_remote and file.snapshot is None


def _require_complete(file: Path, *, remedy: str) -> None:
    if _is_incomplete(_local_file(file)):
        raise ContractError(f"{file.name}: a snapshot without its manifest, left by an extract that failed. {remedy}")


def _is_supported(name: str) -> bool:
    return name.lower().endswith(SUPPORTED)


def _require_supported(name: str, *, remedy: str) -> None:
    if not _is_supported(name):
        raise ContractError(f"{name}: files of this kind cannot be read; readable are {_SUPPORTED_WORDS}. {remedy}")


def _day(match: re.Match[str]) -> date | None:
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:  # 20259999 is a number in a name, not a day
        return None


def _time(match: re.Match[str]) -> time | None:
    try:
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:  # ads_2025-03-31_9000.csv: a number, so the day alone is known
        return None
