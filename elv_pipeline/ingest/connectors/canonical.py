"""Files that already have the columns of the documentation: from a database, a script or a person.

Belongs here: their column names, derived from the contracts. Does not belong here: any cleaning; such a file says
what it means. The one step reads texts of replies, which must not come any further.
"""

from __future__ import annotations

from collections.abc import Iterable

from elv_pipeline.contracts import lead_ads, outreach
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.connectors.base import ColumnNames, ConnectorSpec, Draft, Step
from elv_pipeline.ingest.outreach_replies import STORED, without_texts


def _names_of(contract: TableContract) -> ColumnNames:
    return ColumnNames(
        spellings={name: (name,) for name in contract.names},
        required=tuple(column.name for column in contract.columns if column.required),
    )


def _documented(contracts: Iterable[TableContract], *, steps: tuple[Step, ...] = ()) -> ConnectorSpec:
    return ConnectorSpec(
        name="canonical",
        title="a file with the documented columns",
        tables={contract.name: _names_of(contract) for contract in contracts},
        steps=steps,
    )


def _replies_read(draft: Draft) -> Draft:
    return draft.with_frame(without_texts(draft.frame))


CANONICAL = _documented(lead_ads.SOURCES)
CANONICAL_OUTREACH = _documented(outreach.SOURCES, steps=(_replies_read,))
"""Texts of replies are read as the first step: nothing that comes after it sees one."""
SNAPSHOTS_OUTREACH = _documented(STORED.values())
"""What the door of an extract has written: replies were read before."""
