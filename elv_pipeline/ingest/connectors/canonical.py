"""Files that already have the columns of the documentation: from a database, a script or a person.

Belongs here: their column names, derived from the contracts. Does not belong here: any cleaning; such a file says
what it means.
"""

from __future__ import annotations

from elv_pipeline.contracts.lead_ads import SOURCES
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.connectors.base import ColumnNames, ConnectorSpec


def _names_of(contract: TableContract) -> ColumnNames:
    return ColumnNames(
        spellings={name: (name,) for name in contract.names},
        required=tuple(column.name for column in contract.columns if column.required),
    )


CANONICAL = ConnectorSpec(
    name="canonical",
    title="a file with the documented columns",
    tables={contract.name: _names_of(contract) for contract in SOURCES},
)
