"""Which query the lake's days were read by, so that two never stand side by side.

Belongs here: what was read by the present queries, whether one was edited since days were written, and the refusal to
write some of the days only. Does not belong here: reading a database (``assets/extract.py``), or which rows of older
snapshots stand (``ingest/extracts/standing.py``).

An edited query may place a row on another day, or not deliver it any more. Days written by the one and days written by
the other would then hold a lead twice, or one that no query delivers; so an edited query is read from the calendar's
start, and all days of its table are written anew, in one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import takewhile
from pathlib import Path

from elv_pipeline.databases.statements import Statement
from elv_pipeline.errors import ConfigError
from elv_pipeline.ingest.coverage import covered
from elv_pipeline.ingest.extracts.snapshots import Snapshot, snapshots_in
from elv_pipeline.ingest.extracts.standing import joined
from elv_pipeline.ingest.intake import Arrival
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.outreach_deployment import CLEAN
from elv_pipeline.settings_base import EXPORTS

COVERED = "extracted_days"
"""Document of the lake: for each table the query, and the spans of local days that were read whole by it."""
ROWS_OF_QUERY = "rows_of_query"
"""Document of the lake of a target of outreach: for each table the query that its rows were made by."""
RECIPE = "recipes/features"
"""Document of the lake: what the features were computed with (``Deployment.recipe``)."""
_AS_ONE = {"lead_ads": frozenset({"leads", "outcomes"}), "outreach": frozenset(EXPORTS["outreach"])}
"""Tables of which an edited query must not write some days only; delivery is kept in versions."""


def extracts_folder(deployment: Deployment) -> Path:
    """Folder of the snapshots of all tables, as the paths of the placed configuration name it."""
    placed = deployment.home.placed(deployment.config)
    return Path(placed.paths.of(next(iter(placed.extracts.queries)))).parent


def covered_until(deployment: Deployment) -> date:
    """First local day that is missing in a table that a query delivers; the calendar's start where one was never read.

    Coverage counts from the calendar's start without a gap: a first extract of a late window says nothing of the past.
    What another query read does not count, so that an edited one is read from the start.
    """
    known = deployment.shared_lake.read_json(COVERED) or {}
    spans = (
        _spans(known.get(table), query=_digest(path)) for table, path in deployment.config.extracts.queries.items()
    )
    return min((_covered_until(deployment, found) for found in spans), default=date.max)


def note_covered(deployment: Deployment, found: Mapping[str, Snapshot]) -> None:
    """Remember which days were read; their snapshots may be purged."""
    known = dict(deployment.shared_lake.read_json(COVERED) or {})
    for table, snapshot in found.items():
        query = snapshot.manifest.query_sha256
        snapshots = snapshots_in(extracts_folder(deployment) / table)
        own = _newest_of(query, snapshots)
        spans = [span for one in own if (span := one.manifest.covered_days(deployment.config.zone))]
        days = joined([*_spans(known.get(table), query=query), *spans])
        known[table] = {"query": query, "days": [[str(first), str(last)] for first, last in days]}
    deployment.shared_lake.write_json(COVERED, known)


def edited_queries(deployment: Deployment) -> list[str]:
    """Tables whose days in the lake were written by another query than the configured one."""
    queries = deployment.config.extracts.queries
    as_one = _AS_ONE[deployment.config.problem] & queries.keys()
    found = {table: (_written_by(deployment, table), _digest(queries[table])) for table in as_one}
    return sorted(table for table, (written, present) in found.items() if written and present and written != present)


def is_edited(deployment: Deployment, table: str, arrivals: Sequence[Arrival]) -> bool:
    """Whether the newest snapshot of a table is of another query than the days that the lake holds."""
    return bool(arrivals) and _written_by(deployment, table) not in (None, arrivals[-1].query)


def require_all_days(deployment: Deployment, table: str, arrivals: Sequence[Arrival], *, days: Iterable[date]) -> None:
    """Refuse to write some days of a table by an edited query while others keep what the earlier one delivered.

    Raises:
        ConfigError: with the command that writes all of them.
    """
    written = deployment.lake.days(table)
    own = takewhile(lambda arrival: arrival.query == arrivals[-1].query, reversed(arrivals))
    read = joined([arrival.covered for arrival in own if arrival.covered])
    asked = set(days)
    if all(day in asked and covered(day, read) for day in written):
        return
    raise ConfigError(
        f"{deployment.name}: the query of {table} was edited after {len(written)} days were written by it, from "
        f"{written[0]} to {written[-1]}. Days of two queries do not go together: a lead could stand on two days. Run "
        f"'elv build-table' once; it reads everything by the present query and writes every day anew. Nothing was "
        f"written."
    )


def require_rows_of_one_query(deployment: Deployment, *, days: Iterable[date]) -> None:
    """Refuse to write some days of a target's rows by an edited query while others keep what the earlier one gave.

    Raises:
        ConfigError: with the command that writes all of them.
    """
    edited, left = edited_queries(deployment), set(deployment.lake.days(deployment.rows_table)) - set(days)
    if edited and left:
        raise ConfigError(
            f"{deployment.name}: the query of {edited[0]} was edited since {len(left)} other days were written, the "
            f"first {min(left)}. Days of two queries do not go together. Run 'elv build-table' once; it writes every "
            f"day anew. Nothing was written."
        )


def note_rows_of_query(deployment: Deployment) -> None:
    """Remember by which queries the rows of a target were made; those that it shares may be read by another since."""
    tables = (deployment.shared_lake.read_json(CLEAN) or {}).get("tables", {})
    deployment.lake.write_json(ROWS_OF_QUERY, {name: noted.get("query") for name, noted in tables.items()})


def distrust_features(deployment: Deployment) -> None:
    """Note that no day of features may be added before all are computed anew; a run may be cut short before it does."""
    if deployment.lake.read_json(RECIPE) is not None:
        deployment.lake.write_json(RECIPE, {**deployment.recipe(), "complete": False})


def _newest_of(query: str, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Those since the query was last another one; what it had read before was replaced by that one."""
    return list(takewhile(lambda snapshot: snapshot.manifest.query_sha256 == query, reversed(snapshots)))


def _written_by(deployment: Deployment, table: str) -> str | None:
    if deployment.config.problem == "outreach":
        query = (deployment.lake.read_json(ROWS_OF_QUERY) or {}).get(table)
    else:
        query = (deployment.lake.read_json(f"sources/{table}") or {}).get("query")
    return str(query) if query else None


def _digest(path: str) -> str | None:
    """Digest of a query; None where its file cannot be read, which the extract says better than a schedule's tick."""
    try:
        return Statement.digest(Path(path))
    except ConfigError:
        return None


def _spans(known: object, *, query: str | None) -> list[tuple[date, date]]:
    if isinstance(known, Mapping):
        days: object = known["days"] if query in (None, known["query"]) else []
    else:  # homes of earlier versions did not say by which query
        days = known or []
    return [(date.fromisoformat(first), date.fromisoformat(last)) for first, last in days]  # type: ignore[attr-defined]


def _covered_until(deployment: Deployment, spans: Sequence[tuple[date, date]]) -> date:
    day = deployment.first_day
    for first, last in spans:
        if first <= day <= last:
            day = last + timedelta(days=1)
    return day
