"""The connectors that exist. A new one is its module and its place in this tuple.

Belongs here: the list, and who may read which table. Does not belong here: how a header is matched (``matching``).
"""

from __future__ import annotations

import difflib

from elv_pipeline.errors import ConfigError
from elv_pipeline.ingest.connectors.base import ConnectorSpec
from elv_pipeline.ingest.connectors.canonical import CANONICAL, CANONICAL_OUTREACH, SNAPSHOTS_OUTREACH
from elv_pipeline.ingest.connectors.meta_ads_manager import META_ADS_MANAGER
from elv_pipeline.ingest.connectors.meta_lead_form import META_LEAD_FORM
from elv_pipeline.settings import PipelineConfig

CONNECTORS: tuple[ConnectorSpec, ...] = (CANONICAL, META_ADS_MANAGER, META_LEAD_FORM)
"""Those of lead ads, in order of preference where a header would suit several."""
_OF_OUTREACH = (CANONICAL_OUTREACH,)
_SNAPSHOTS = {"outreach": (SNAPSHOTS_OUTREACH,)}

_AUTO = "auto"


def connectors_of(problem: str) -> tuple[ConnectorSpec, ...]:
    """The connectors that know the tables of a problem; tables of two problems may share a name."""
    return _OF_OUTREACH if problem == "outreach" else CONNECTORS


def candidates_for(table: str, config: PipelineConfig, *, snapshot: bool = False) -> tuple[ConnectorSpec, ...]:
    """The connectors that may read a table: the configured one, or with ``auto`` all that know it.

    Snapshots of an extract are ours, whatever platform files come from. A ``source`` for the whole configuration holds
    for the tables that this connector knows; no platform exports all.

    Raises:
        ConfigError: there is no such connector, or the table's own ``source`` names one that does not know it.
    """
    if snapshot and config.problem in _SNAPSHOTS:
        return _SNAPSHOTS[config.problem]
    connectors = connectors_of(config.problem)
    knowing = tuple(spec for spec in connectors if table in spec.tables)
    wanted = config.connector_of(table)
    if wanted == _AUTO:
        return knowing
    by_name = {spec.name: spec for spec in connectors}
    own = getattr(config.contracts, table).source
    key = f"contracts.{table}.source" if own else "source"
    if wanted not in by_name:
        close = difflib.get_close_matches(wanted, [_AUTO, *by_name], n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join([_AUTO, *by_name])}."
        raise ConfigError(f"{key} is {wanted!r}: there is no such connector. {hint}")
    if table in by_name[wanted].tables:
        return (by_name[wanted],)
    if own:
        raise ConfigError(
            f"{key} is {wanted!r}, which does not export {table}; {', '.join(spec.name for spec in knowing)} can. "
            f"Set {key}: auto."
        )
    return knowing
