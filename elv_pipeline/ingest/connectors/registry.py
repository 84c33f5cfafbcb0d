"""The connectors that exist. A new one is its module and its place in this tuple.

Belongs here: the list, and who may read which table. Does not belong here: how a header is matched (``matching``).
"""

from __future__ import annotations

import difflib

from elv_pipeline.errors import ConfigError
from elv_pipeline.ingest.connectors.base import ConnectorSpec
from elv_pipeline.ingest.connectors.canonical import CANONICAL
from elv_pipeline.ingest.connectors.meta_ads_manager import META_ADS_MANAGER
from elv_pipeline.ingest.connectors.meta_lead_form import META_LEAD_FORM
from elv_pipeline.settings import PipelineConfig

CONNECTORS: tuple[ConnectorSpec, ...] = (CANONICAL, META_ADS_MANAGER, META_LEAD_FORM)
"""In order of preference where a header would suit several."""

_AUTO = "auto"


def candidates_for(table: str, config: PipelineConfig) -> tuple[ConnectorSpec, ...]:
    """The connectors that may read a table: the configured one, or with ``auto`` all that know it.

    A ``source`` for the whole configuration holds for the tables that this connector knows; no platform exports all.

    Raises:
        ConfigError: there is no such connector, or the table's own ``source`` names one that does not know it.
    """
    knowing = tuple(spec for spec in CONNECTORS if table in spec.tables)
    wanted = config.connector_of(table)
    if wanted == _AUTO:
        return knowing
    by_name = {spec.name: spec for spec in CONNECTORS}
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
