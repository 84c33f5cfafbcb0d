from __future__ import annotations

import pytest
from sqlalchemy import URL, create_engine, event, make_url

from elv_pipeline.databases import drivers
from elv_pipeline.databases.connections import Connection, describe, open_engine
from elv_pipeline.databases.drivers import SqlServerDrivers, installed_drivers, with_driver
from elv_pipeline.errors import MissingExtraError

ADDRESS = "mssql://reader:hunter2@db.example.org:1433/crm"
NEW = "ODBC Driver 18 for SQL Server"
OLD = "ODBC Driver 17 for SQL Server"


def found(*odbc: str, pyodbc: str | None = None, mssql_python: str | None = "not installed") -> SqlServerDrivers:
    return SqlServerDrivers(odbc, pyodbc, mssql_python)


def chosen(url: str, there: SqlServerDrivers) -> URL:
    return with_driver(make_url(url), name="databases.source", look=lambda: there)


@pytest.mark.parametrize(
    ("there", "driver", "odbc"),
    [
        (found("FreeTDS", OLD, NEW, mssql_python=None), "mssql+pyodbc", NEW),
        (found("FreeTDS", OLD, mssql_python=None), "mssql+pyodbc", OLD),
        (found("FreeTDS", mssql_python=None), "mssql+mssqlpython", None),
        (found(pyodbc="libodbc.so.2 is missing", mssql_python=None), "mssql+mssqlpython", None),
        (found("FreeTDS"), "mssql+pyodbc", "FreeTDS"),
    ],
)
def test_the_best_driver_there_is_taken(there: SqlServerDrivers, driver: str, odbc: str | None) -> None:
    url = chosen(ADDRESS, there)
    assert url.drivername == driver
    assert url.query.get("driver") == odbc
    assert (url.host, url.port, url.database, url.password) == ("db.example.org", 1433, "crm", "hunter2")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?driver=My+Driver", {"driver": "My Driver"}),
        ("?odbc_connect=DSN%3Dcrm", {"odbc_connect": "DSN=crm"}),
        ("?dsn=crm", {"dsn": "crm"}),
        ("", {"driver": NEW}),
    ],
)
def test_a_driver_that_the_address_names_is_respected(query: str, expected: dict[str, str]) -> None:
    url = chosen("mssql+pyodbc://login@host/crm" + query, found(OLD, NEW, mssql_python=None))
    assert url.drivername == "mssql+pyodbc"
    assert dict(url.query) == expected
    assert chosen("mssql+mssqlpython://host/crm", found(NEW, mssql_python=None)).drivername == "mssql+mssqlpython"


def test_one_message_lists_what_was_tried_and_the_ways_out() -> None:
    with pytest.raises(MissingExtraError) as raised:
        chosen(ADDRESS, found("SQLite3", mssql_python="libltdl.so.7 is missing"))
    message = str(raised.value)
    for part in (NEW, OLD, "FreeTDS", "mssql-python (libltdl.so.7 is missing)", "not registered in odbcinst.ini"):
        assert part in message
    assert "pip install 'elv-pipeline[sqlserver]'" in message
    assert "apt-get install" in message
    assert "hunter2" not in message


def test_a_named_driver_is_not_replaced_by_another() -> None:
    with pytest.raises(MissingExtraError) as raised:
        chosen("mssql+mssqlpython://host/crm", found(NEW))
    assert NEW not in str(raised.value)


def test_looking_for_drivers_says_why_one_is_of_no_use() -> None:
    here = installed_drivers()
    assert here.pyodbc_problem is None or here.odbc == ()
    assert here.mssql_python_problem != ""
    missing = drivers._load
    try:
        drivers._load = lambda name: missing("no_such_module_" + name)
        nothing = installed_drivers()
        with pytest.raises(MissingExtraError, match=r"pip install 'elv-pipeline\[postgres\]'"):
            with_driver(make_url("postgresql://host/crm"), name="databases.source")
    finally:
        drivers._load = missing
    assert "no_such_module_pyodbc" in str(nothing.pyodbc_problem)
    assert "no_such_module_mssql_python" in str(nothing.mssql_python_problem)


class Session:
    """Records what a new SQL Server session is told; nothing here can reach a real one."""

    def __init__(self) -> None:
        self.timeout = 0
        self.statements: list[str] = []
        self.committed = False

    def cursor(self) -> Session:
        return self

    def execute(self, statement: str) -> None:
        self.statements.append(statement)

    def close(self) -> None:
        pass

    def add_output_converter(self, _kind: int, _convert: object) -> None:
        pass

    def rollback(self) -> None:
        pass

    def commit(self) -> None:
        self.committed = True


@pytest.fixture
def freetds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ODBC driver as far as the choice of one goes, and SQLAlchemy without the library that is not here."""
    monkeypatch.setattr(drivers, "installed_drivers", lambda: found("FreeTDS"))
    monkeypatch.setattr("sqlalchemy.connectors.pyodbc.PyODBCConnector.import_dbapi", lambda: FakeLibrary)


class FakeLibrary:
    paramstyle = "qmark"
    version = "5.2.0"
    Error = Exception
    Cursor = type("Cursor", (), {"nextset": None})


@pytest.mark.usefixtures("freetds")
@pytest.mark.parametrize("read_only", [True, False])
def test_a_sql_server_session_gets_its_limits_and_intent(read_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(url=ADDRESS, read_only=read_only, login_timeout_seconds=9, statement_timeout_seconds=60)
    engine = open_engine(connection, purpose="extract")
    (text,), _ = engine.dialect.create_connect_args(engine.url)
    assert "Server=db.example.org,1433;Database=crm" in text
    assert "APP=elv_pipeline extract" in text
    assert ("ApplicationIntent=ReadOnly" in text) is read_only
    assert engine.dialect.fast_executemany is False
    session = Session()
    asked: dict[str, object] = {}

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, _arguments: object, settings: dict[str, object]) -> Session:
        asked.update(settings)
        return session

    monkeypatch.setattr(engine.dialect, "initialize", lambda _connection: None)  # it asks for the server's version
    engine.raw_connection()
    assert asked == {"timeout": 9}
    assert session.timeout == 60
    assert session.committed
    assert session.statements == ["SET LOCK_TIMEOUT 60000", *([] if read_only else ["SET XACT_ABORT ON"])]
    assert describe(engine) == "mssql://db.example.org:1433/crm as reader"


@pytest.mark.usefixtures("freetds")
def test_a_whole_odbc_string_is_completed_and_described_without_its_password() -> None:
    text = "DRIVER%3DMine%3BServer%3Ddb%3BDatabase%3Dcrm%3BUID%3Dreader%3BPWD%3Dhunter2%3BApp%3Dtheirs"
    engine = open_engine(Connection(url=f"mssql+pyodbc://?odbc_connect={text}", read_only=True), purpose="extract")
    (sent,), _ = engine.dialect.create_connect_args(engine.url)
    assert sent.endswith(";App=theirs;ApplicationIntent=ReadOnly")
    assert describe(engine) == "mssql://db/crm as reader"


def test_mssql_python_is_given_no_key_that_it_reserves(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("mssql_python", reason="mssql-python is not installed", exc_type=ImportError)
    monkeypatch.setattr(drivers, "installed_drivers", lambda: found(mssql_python=None))
    engine = open_engine(Connection(url=ADDRESS, read_only=True), purpose="extract")
    (text,), _ = engine.dialect.create_connect_args(engine.url)
    assert "ApplicationIntent=ReadOnly" in text
    assert "APP=" not in text
    assert create_engine(engine.url).dialect.loaded_dbapi is module
