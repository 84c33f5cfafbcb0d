"""Which driver reaches a database: the one that the address names, else the first that is installed and works.

Belongs here: the supported databases and drivers, finding them, and what to install where there is none. Does not
belong here: opening anything (``connections.py``).

``pyodbc`` imports only where unixODBC is installed, and ``mssql-python`` imports even where its library does not load,
so each is tried and not merely looked for.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL

from elv_pipeline.errors import ConfigError, MissingExtraError

SUPPORTED = {"sqlite": ("pysqlite",), "postgresql": ("psycopg",), "mssql": ("pyodbc", "mssqlpython")}
ODBC_DRIVERS = ("ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server")
FREETDS = "FreeTDS"
_WAYS_OUT = (
    "Install one: pip install 'elv-pipeline[sqlserver]', and on Debian or Ubuntu also apt-get install libltdl7 "
    "libgssapi-krb5-2 (for mssql-python), or apt-get install unixodbc and Microsoft's package msodbcsql18, or "
    "apt-get install unixodbc tdsodbc (FreeTDS)"
)


@dataclass(frozen=True)
class SqlServerDrivers:
    """What reaches SQL Server on this machine; ``..._problem`` says why a package is of no use, or is None."""

    odbc: tuple[str, ...]
    pyodbc_problem: str | None
    mssql_python_problem: str | None


def with_driver(url: URL, *, name: str, look: Callable[[], SqlServerDrivers] | None = None) -> URL:
    """The address with a driver that is installed.

    Args:
        url: address; a driver that it names is respected.
        name: what messages call the connection.
        look: finds SQL Server's drivers on this machine.

    Raises:
        ConfigError: the database or the named driver is not supported.
        MissingExtraError: no driver is installed; lists what was tried and the ways out.
    """
    dialect, _, driver = url.drivername.partition("+")
    if dialect not in SUPPORTED:
        raise ConfigError(f"{name}: databases of kind {dialect!r} are not supported; use one of {', '.join(SUPPORTED)}")
    if driver and driver not in SUPPORTED[dialect]:
        usable = ", ".join(f"{dialect}+{each}://" for each in SUPPORTED[dialect])
        raise ConfigError(f"{name}: the driver {driver!r} is not supported; write {dialect}:// or {usable}")
    if dialect == "mssql":
        return _with_mssql_driver(url, driver, name=name, found=(look or installed_drivers)())
    if dialect == "postgresql":
        _need_psycopg(name)
    return url.set(drivername=f"{dialect}+{SUPPORTED[dialect][0]}")


def installed_drivers() -> SqlServerDrivers:
    """SQL Server's drivers on this machine. Imports what there is and loads its library; connects to nothing."""
    odbc, pyodbc_problem = _odbc_drivers()
    return SqlServerDrivers(odbc, pyodbc_problem, _mssql_python_problem())


def _need_psycopg(name: str) -> None:
    try:
        _load("psycopg")
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: PostgreSQL needs the driver psycopg, which does not load ({error}); "
            "install it: pip install 'elv-pipeline[postgres]'"
        ) from error


def _with_mssql_driver(url: URL, driver: str, *, name: str, found: SqlServerDrivers) -> URL:
    chosen_by_user = {"driver", "odbc_connect", "dsn"} & {key.lower() for key in url.query}
    if driver == "pyodbc" and chosen_by_user and found.pyodbc_problem is None:
        return url
    candidates: list[tuple[str, str | None, str, str | None]] = [
        (f"pyodbc with {each}", _odbc_problem(each, found), "pyodbc", each) for each in ODBC_DRIVERS
    ]
    candidates.append(("mssql-python", found.mssql_python_problem, "mssqlpython", None))
    # Last, and never with fast_executemany: FreeTDS crashes the process there.
    candidates.append((f"pyodbc with {FREETDS}", _odbc_problem(FREETDS, found), "pyodbc", FREETDS))
    tried = []
    for title, problem, package, odbc in candidates:
        if driver not in ("", package):
            continue
        if problem is None:
            return _chosen(url, package, odbc)
        tried.append(f"{title} ({problem})")
    raise MissingExtraError(f"{name}: no driver for SQL Server works here; tried {'; '.join(tried)}. {_WAYS_OUT}")


def _chosen(url: URL, package: str, odbc: str | None) -> URL:
    url = url.set(drivername=f"mssql+{package}")
    named_by_user = {"driver", "odbc_connect", "dsn"} & {key.lower() for key in url.query}
    return url.update_query_dict({"driver": odbc}) if odbc and not named_by_user else url


def _odbc_problem(driver: str, found: SqlServerDrivers) -> str | None:
    if found.pyodbc_problem is not None:
        return found.pyodbc_problem
    return None if driver in found.odbc else "not registered in odbcinst.ini"


def _odbc_drivers() -> tuple[tuple[str, ...], str | None]:
    try:
        pyodbc = _load("pyodbc")
    except ImportError as error:
        return (), str(error)
    # unixODBC's own pool would hand out connections that SQLAlchemy believes closed, with their session settings.
    pyodbc.pooling = False
    return tuple(pyodbc.drivers()), None


def _mssql_python_problem() -> str | None:
    try:
        ctypes.CDLL(_load("mssql_python").get_native_provider_info()["driver_path"])
    except (ImportError, OSError) as error:
        return str(error)
    return None


def _load(module: str) -> Any:
    """Import an optional driver. By name, so that types are checked alike where it is not installed."""
    return importlib.import_module(module)
