"""What a login may change, and the refusal to read with one that may change anything.

Belongs here: the questions to each database about the rights of the login of a session. Does not belong here: making a
session read-only (``connections.py``), which the same login can undo. ``ApplicationIntent=ReadOnly`` and
``default_transaction_read_only`` stop nobody who may write.

Routines do what their owner may. On PostgreSQL everybody may call most functions, so that right says nothing: the
read-only transaction of an extract stops what they would write. SQL Server has no such transaction, so the right to
execute procedures is refused there; a function that a query can call changes nothing. docs/SECURITY.md tells both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from elv_pipeline.errors import ConfigError, SourceError

SHOWN = 10
"""Grants of one kind that a message lists; the others are counted."""

# Every role that the login is a member of counts, also where it has to SET ROLE first: NOINHERIT is no protection.
_REACHABLE = """
WITH reachable AS (
    SELECT oid, rolname FROM pg_catalog.pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')
), own_schemas AS (
    SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
)"""
_POSTGRESQL = {
    "superuser(s)": """
SELECT CASE WHEN rolname = current_user THEN 'superuser' ELSE 'superuser (through role ' || rolname || ')' END
FROM pg_catalog.pg_roles
WHERE rolsuper AND pg_has_role(current_user, oid, 'MEMBER')
  AND (rolname = current_user OR NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user))
ORDER BY 1""",
    "attribute(s)": """
SELECT trait || CASE WHEN r.rolname = current_user THEN '' ELSE ' (through role ' || r.rolname || ')' END
FROM pg_catalog.pg_roles r CROSS JOIN LATERAL (VALUES
    ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication),
    ('member of ' || r.rolname, r.rolname IN (
        'pg_write_all_data', 'pg_write_server_files', 'pg_execute_server_program', 'pg_maintain',
        'pg_signal_backend', 'pg_create_subscription'))
) AS traits (trait, held)
WHERE held AND pg_has_role(current_user, r.oid, 'MEMBER')
ORDER BY 1""",
    "table(s)": _REACHABLE
    + """
SELECT string_agg(DISTINCT privilege, ', ' ORDER BY privilege) || ' on ' || n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c
JOIN own_schemas n ON n.oid = c.relnamespace
CROSS JOIN reachable r
CROSS JOIN LATERAL (VALUES
    ('INSERT', has_any_column_privilege(r.oid, c.oid, 'INSERT')),
    ('UPDATE', has_any_column_privilege(r.oid, c.oid, 'UPDATE')),
    ('DELETE', has_table_privilege(r.oid, c.oid, 'DELETE')),
    ('TRUNCATE', has_table_privilege(r.oid, c.oid, 'TRUNCATE')),
    ('TRIGGER', has_table_privilege(r.oid, c.oid, 'TRIGGER')),
    ('OWNER', c.relowner = r.oid)
) AS rights (privilege, held)
WHERE held AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname""",
    "sequence(s)": _REACHABLE
    + """
SELECT string_agg(DISTINCT privilege, ', ' ORDER BY privilege) || ' on sequence ' || n.nspname || '.' || c.relname
FROM (SELECT * FROM pg_catalog.pg_class WHERE relkind = 'S') c
JOIN own_schemas n ON n.oid = c.relnamespace
CROSS JOIN reachable r
CROSS JOIN LATERAL (VALUES
    ('USAGE', has_sequence_privilege(r.oid, c.oid, 'USAGE')),
    ('UPDATE', has_sequence_privilege(r.oid, c.oid, 'UPDATE'))
) AS rights (privilege, held)
WHERE held
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname""",
    # Everybody may update pg_settings, which is SET in other words. All else there was granted by somebody.
    "system table(s)": _REACHABLE
    + """
SELECT string_agg(DISTINCT g.privilege_type, ', ' ORDER BY g.privilege_type) || ' on ' || n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('pg_catalog', 'information_schema')
CROSS JOIN LATERAL (
    SELECT * FROM aclexplode(c.relacl)
    UNION ALL
    SELECT a.* FROM pg_catalog.pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE t.attrelid = c.oid
) g
WHERE g.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  AND (g.grantee = 0 OR g.grantee IN (SELECT oid FROM reachable))
  AND NOT (c.relname = 'pg_settings' AND g.grantee = 0)
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname""",
    "large object(s)": _REACHABLE
    + """
SELECT CASE WHEN m.lomowner IN (SELECT oid FROM reachable) THEN 'OWNER of' ELSE 'UPDATE on' END
       || ' large object ' || m.oid
FROM pg_catalog.pg_largeobject_metadata m
WHERE m.lomowner IN (SELECT oid FROM reachable) OR EXISTS (
    SELECT 1 FROM aclexplode(m.lomacl) g
    WHERE g.privilege_type = 'UPDATE' AND (g.grantee = 0 OR g.grantee IN (SELECT oid FROM reachable)))
ORDER BY m.oid""",
    "routine(s)": _REACHABLE
    + """
SELECT DISTINCT 'OWNER of routine ' || n.nspname || '.' || p.proname
FROM pg_catalog.pg_proc p
JOIN own_schemas n ON n.oid = p.pronamespace
WHERE p.proowner IN (SELECT oid FROM reachable)
ORDER BY 1""",
    "schema(s)": _REACHABLE
    + """
SELECT DISTINCT CASE WHEN n.nspowner = r.oid THEN 'OWNER of' ELSE 'CREATE on' END || ' schema ' || n.nspname
FROM own_schemas n CROSS JOIN reachable r
WHERE n.nspowner = r.oid OR has_schema_privilege(r.oid, n.oid, 'CREATE')
ORDER BY 1""",
    "database(s)": _REACHABLE
    + """
SELECT DISTINCT CASE WHEN d.datdba = r.oid THEN 'OWNER of' ELSE 'CREATE on' END || ' database ' || d.datname
FROM pg_catalog.pg_database d CROSS JOIN reachable r
WHERE d.datname = current_database() AND (d.datdba = r.oid OR has_database_privilege(r.oid, d.oid, 'CREATE'))
ORDER BY 1""",
}

_RIGHTS = "('INSERT', 'UPDATE', 'DELETE', 'ALTER', 'CONTROL', 'TAKE OWNERSHIP')"
_NAMES = "('INSERT'), ('UPDATE'), ('DELETE'), ('ALTER'), ('CONTROL'), ('TAKE OWNERSHIP')"
_MSSQL = {
    "server role(s)": """
SELECT 'member of server role ' + r.name
FROM (VALUES ('sysadmin'), ('securityadmin'), ('serveradmin'), ('dbcreator')) AS r (name)
WHERE IS_SRVROLEMEMBER(r.name) = 1
ORDER BY 1""",
    "database role(s)": """
SELECT 'member of role ' + r.name
FROM (VALUES ('db_owner'), ('db_datawriter'), ('db_ddladmin'), ('db_securityadmin'), ('db_accessadmin')) AS r (name)
WHERE IS_ROLEMEMBER(r.name) = 1
ORDER BY 1""",
    "server permission(s)": """
SELECT permission_name + ' on the server' FROM fn_my_permissions(NULL, 'SERVER')
WHERE permission_name LIKE 'ALTER ANY %' OR permission_name LIKE 'IMPERSONATE%'
   OR permission_name IN ('CONTROL SERVER', 'CREATE ANY DATABASE', 'ALTER SERVER STATE')
ORDER BY 1""",
    "database permission(s)": f"""
SELECT permission_name + ' on the database' FROM fn_my_permissions(NULL, 'DATABASE')
WHERE permission_name IN {_RIGHTS} OR permission_name LIKE 'EXECUTE%'
   OR permission_name LIKE 'ALTER ANY %' OR permission_name LIKE 'CREATE %' OR permission_name LIKE 'IMPERSONATE%'
ORDER BY 1""",
    "schema(s)": f"""
SELECT p.name + ' on schema ' + s.name
FROM sys.schemas AS s CROSS JOIN (VALUES ('EXECUTE'), {_NAMES}) AS p (name)
WHERE s.name NOT IN ('sys', 'INFORMATION_SCHEMA') AND HAS_PERMS_BY_NAME(QUOTENAME(s.name), 'SCHEMA', p.name) = 1
ORDER BY 1""",
    "table(s)": f"""
SELECT p.name + ' on ' + SCHEMA_NAME(o.schema_id) + '.' + o.name
FROM sys.objects AS o CROSS JOIN (VALUES {_NAMES}) AS p (name)
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0
  AND HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(o.schema_id)) + '.' + QUOTENAME(o.name), 'OBJECT', p.name) = 1
ORDER BY 1""",
    # NEXT VALUE FOR changes a sequence, and needs UPDATE on it.
    "sequence(s)": f"""
SELECT p.name + ' on sequence ' + SCHEMA_NAME(o.schema_id) + '.' + o.name
FROM sys.objects AS o CROSS JOIN (VALUES {_NAMES}) AS p (name)
WHERE o.type = 'SO' AND p.name NOT IN ('INSERT', 'DELETE')
  AND HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(o.schema_id)) + '.' + QUOTENAME(o.name), 'OBJECT', p.name) = 1
ORDER BY 1""",
    # Procedures of every kind; functions that a query calls (FN, IF, TF, FS, FT) change nothing, unless one may alter
    # them.
    "routine(s)": f"""
SELECT p.name + ' on routine ' + SCHEMA_NAME(o.schema_id) + '.' + o.name
FROM sys.objects AS o CROSS JOIN (VALUES ('EXECUTE'), {_NAMES}) AS p (name)
WHERE o.is_ms_shipped = 0 AND p.name NOT IN ('INSERT', 'UPDATE', 'DELETE')
  AND (o.type IN ('P', 'PC', 'X', 'RF') OR (o.type IN ('FN', 'IF', 'TF', 'FS', 'FT') AND p.name <> 'EXECUTE'))
  AND HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(o.schema_id)) + '.' + QUOTENAME(o.name), 'OBJECT', p.name) = 1
ORDER BY 1""",
    # A right on single columns of a table is none on the table, so the question above does not find it.
    "column grant(s)": f"""
SELECT DISTINCT d.permission_name + ' on columns of ' + SCHEMA_NAME(o.schema_id) + '.' + o.name
FROM sys.database_permissions AS d JOIN sys.objects AS o ON o.object_id = d.major_id
WHERE d.class = 1 AND d.minor_id > 0 AND d.state IN ('G', 'W') AND d.permission_name IN {_RIGHTS}
  AND (d.grantee_principal_id = DATABASE_PRINCIPAL_ID() OR IS_MEMBER(USER_NAME(d.grantee_principal_id)) = 1)
ORDER BY 1""",
}
QUESTIONS = {"postgresql": _POSTGRESQL, "mssql": _MSSQL}
"""Statements a database is asked, by what they find; each row is one grant in words."""


def write_grants(connection: Connection) -> list[str]:
    """What the session's login may change, in words; empty where it can only read.

    Of each kind at most ``SHOWN`` are listed and the others counted. A superuser is told as such, without the list of
    everything.

    Args:
        connection: an open session of the login in question.

    Raises:
        ConfigError: the database is not one of those that are supported.
    """
    dialect = connection.dialect.name
    if dialect == "sqlite":
        return _sqlite(connection)
    if dialect not in QUESTIONS:
        raise ConfigError(f"permissions of a {dialect} login cannot be examined; use one of sqlite, postgresql, mssql")
    found: list[str] = []
    for kind, question in QUESTIONS[dialect].items():
        found += _bounded([str(row[0]) for row in connection.execute(text(question))], kind=kind)
        if any(grant.startswith(("superuser", "member of server role sysadmin")) for grant in found):
            break
    return found


def refuse_writers(connection: Connection, *, name: str = "databases.source") -> None:
    """Refuse a login that can change anything, before it reads.

    Args:
        connection: an open session of the login.
        name: what messages call the connection.

    Raises:
        SourceError: names the grants and how to take them away.
    """
    grants = write_grants(connection)
    if not grants:
        return
    if connection.dialect.name == "sqlite":
        raise SourceError(f"{name}: {grants[0]}; extracts must open it read-only (Connection.read_only)")
    raise SourceError(
        f"{name}: the login can write, and an extract must not be able to. Found: {'; '.join(grants)}. "
        f"{_remedy(grants)} docs/SECURITY.md has the statements that make a login that only reads."
    )


def _remedy(grants: Iterable[str]) -> str:
    if any(grant.startswith(("superuser", "member of server role")) for grant in grants):
        return "Use another login: an administrator cannot be restricted."
    return "Take them away (REVOKE ... FROM the login, the role that passes them on, or PUBLIC), or use another login."


def _sqlite(connection: Connection) -> list[str]:
    # A file has no logins; what counts is whether SQLite itself opened it for reading (connections.open_engine).
    return [] if connection.engine.url.query.get("mode") == "ro" else ["the SQLite file is opened for writing"]


def _bounded(grants: Sequence[str], *, kind: str) -> list[str]:
    shown = list(grants[:SHOWN])
    return [*shown, f"and {len(grants) - SHOWN} more {kind}"] if len(grants) > SHOWN else shown
