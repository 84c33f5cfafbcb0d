"""Checks of the machine and the home folder, each with the command that fixes it.

Belongs here: quick checks that import nothing heavy. Does not belong here: checks of a user's exports (`elv validate`).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sqlite3
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from elv_pipeline.errors import ElvError
from elv_pipeline.home import HOME_VARIABLE, Home

_MODULES = (
    "altair",
    "dagster",
    "dagster_webserver",
    "lightgbm",
    "mlflow",
    "pandera",
    "polars",
    "sklearn",
    "sqlalchemy",
)
_UPDATE_FROM = (3, 33, 0)


@dataclass(frozen=True)
class Check:
    """One result: what was looked at, whether it is in order, and what to do if not."""

    name: str
    passed: bool
    message: str


def examine(home: Home) -> list[Check]:
    """Every check, quick ones only; databases are asked where a configuration names them."""
    machine = [_python(), _packages(), _boosting(), _sqlite(), _folder(home), _configurations(home), _instance(home)]
    return [*machine, *_databases(home)]


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    passed = sys.version_info >= (3, 11)
    return Check("python", passed, found if passed else f"{found}; Python 3.11 or newer is needed")


def _packages() -> Check:
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("packages", False, f"missing {', '.join(missing)}; run 'make setup'")
    return Check("packages", True, f"{len(_MODULES)} found")


def _boosting() -> Check:
    """Load LightGBM's library without LightGBM: what fails on small machines is its OpenMP runtime."""
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        return Check("lightgbm", False, "not installed; run 'make setup', or set model.model_type: logreg")
    folder = Path(next(iter(spec.submodule_search_locations)))
    libraries = [file for file in folder.rglob("lib_lightgbm.*") if file.suffix in (".so", ".dylib", ".dll")]
    try:
        for library in libraries[:1]:
            ctypes.CDLL(str(library))
    except OSError as error:
        return Check(
            "lightgbm",
            False,
            f"{error}; install the OpenMP runtime (Debian: apt-get install libgomp1, macOS: "
            f"brew install libomp) or set model.model_type: logreg",
        )
    return Check(
        "lightgbm", bool(libraries), "library loads" if libraries else "library file not found; run 'make setup'"
    )


def _sqlite() -> Check:
    passed = sqlite3.sqlite_version_info >= _UPDATE_FROM
    needed = "" if passed else "; 3.33 or newer is needed for UPDATE ... FROM, install a newer Python build"
    return Check("sqlite", passed, sqlite3.sqlite_version + needed)


def _folder(home: Home) -> Check:
    probe = home.root / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        probe.write_text("x", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        return Check("home", False, f"{home.root} is not writable ({error.strerror}); set ELV_HOME to a folder that is")
    free = os.statvfs(home.root).f_bavail * os.statvfs(home.root).f_frsize / 1e9 if hasattr(os, "statvfs") else None
    return Check("home", True, f"{home.root}" + (f", {free:.0f} GB free" if free is not None else ""))


def _instance(home: Home) -> Check:
    """Dagster's records: the folder that the commands, the UI and the daemon must share."""
    configuration = home.dagster / "dagster.yaml"
    told = os.environ.get("DAGSTER_HOME")
    if told and Path(told).resolve() != home.dagster.resolve():
        return Check(
            "instance",
            False,
            f"DAGSTER_HOME is {told}, the home's is {home.dagster}; schedules there would not see these runs. Unset "
            f"DAGSTER_HOME, or set {HOME_VARIABLE} to the folder above it",
        )
    if not configuration.is_file():
        return Check("instance", True, "none yet; the first command makes it")
    uses = "PostgreSQL" if "\n  postgres:" in configuration.read_text(encoding="utf-8") else "SQLite"
    return Check("instance", True, f"{home.dagster}, {uses}")


def _databases(home: Home) -> list[Check]:
    """Driver, reachability, permissions and schema of every database that a configuration names."""
    try:
        configs = home.registered()
    except ElvError:  # told by the check of the configurations
        return []
    asked = [
        (config.name, purpose, database)
        for config in configs
        for purpose, database in (("source", config.databases.source), ("scores", config.databases.scores))
        if database is not None
    ]
    if not asked:
        return []
    from elv_pipeline.databases.connections import Connection
    from elv_pipeline.databases.health import examine_connection

    found = []
    for name, purpose, database in asked:
        reads = purpose == "source"
        connection = Connection.of(database, name=f"databases.{purpose}", read_only=reads)
        for finding in examine_connection(connection, purpose=purpose, needs="read" if reads else "write"):
            found.append(Check(f"{name} {finding.name}", finding.passed, finding.message))
    return found


def _configurations(home: Home) -> Check:
    try:
        names = [config.name for config in home.registered()]
    except ElvError as error:
        return Check("configurations", False, str(error))
    return Check("configurations", True, ", ".join(names) or "none yet; run 'elv demo' or 'elv validate --config ...'")
