"""The tables of outreach as they were known at a moment, in an order that their content decides.

Belongs here: leaving out what had not happened, or had not been recorded, by then. Does not belong here: what is made
of the rows.

Everything that is recommended begins here, so that nothing after the moment can matter whatever is computed later, and
neither can the order in which rows were read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class KnownOutreach:
    """Canonical tables of outreach as they were known at ``as_of``, each sorted by its key.

    Attributes:
        as_of: the moment.
        contacts: versions recorded by then.
        campaigns: those that had begun, or whose beginning is not recorded.
        steps: versions that held and had been recorded.
        enrollments: that had happened, since outcomes are recorded.
        engagement: events of these that had happened and had been recorded.
        outcomes: likewise; withdrawn only where that had happened, too.
        unobserved: enrollments whose lack of an outcome says nothing.
    """

    as_of: datetime
    contacts: pl.DataFrame
    campaigns: pl.DataFrame
    steps: pl.DataFrame
    enrollments: pl.DataFrame
    engagement: pl.DataFrame
    outcomes: pl.DataFrame
    unobserved: tuple[str, ...] = ()


def known_outreach(
    tables: Mapping[str, pl.DataFrame],
    *,
    as_of: datetime,
    unobserved: Collection[str] = (),
    observed_from: datetime | None = None,
) -> KnownOutreach:
    """Leave out what was not known at a moment.

    Args:
        tables: canonical tables by name (``contracts.outreach.CANONICAL``); ``outcomes`` may be absent.
        as_of: the moment, with an offset.
        unobserved: enrollments of which an outcome was dropped as contradictory.
        observed_from: since when outcomes are recorded; of earlier enrollments nobody knows what became of them, and
            elements that were used then would look weak. None where the record reaches back far enough.

    Raises:
        ContractError: a table is missing.
        ValueError: the moment has no offset.
    """
    if as_of.utcoffset() is None:
        raise ValueError(f"as_of {as_of} has no offset; give the time with one, such as +00:00")
    limit = pl.lit(as_of).cast(pl.Datetime("us", "UTC"))

    def by_then(*names: str) -> pl.Expr:
        return pl.all_horizontal((pl.col(name) <= limit).fill_null(True) for name in names)

    enrollments = _table(tables, "enrollments").filter(by_then("enrolled_time"))
    if observed_from is not None:
        since = pl.lit(observed_from).cast(pl.Datetime("us", "UTC"))
        enrollments = enrollments.filter(pl.col("enrolled_time") >= since)
    own = enrollments.select("enrollment_id")
    outcomes = _table(tables, "outcomes").filter(by_then("outcome_time", "recorded_time"))
    withdrawn = pl.when(pl.col("withdrawn_time") <= limit).then("withdrawn_time").alias("withdrawn_time")
    engagement = _table(tables, "engagement_logs").filter(by_then("event_time", "recorded_time"))
    return KnownOutreach(
        as_of=as_of,
        contacts=_table(tables, "contacts").filter(by_then("recorded_time")),
        campaigns=_table(tables, "campaigns").filter(by_then("started_time")),
        steps=_table(tables, "campaign_steps").filter(by_then("valid_from", "recorded_time")),
        enrollments=enrollments,
        engagement=engagement.join(own, on="enrollment_id", how="semi", maintain_order="left"),
        outcomes=outcomes.with_columns(withdrawn).join(own, on="enrollment_id", how="semi", maintain_order="left"),
        unobserved=tuple(sorted(unobserved)),
    )


def _table(tables: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame:
    contract = CANONICAL[name]
    if name not in tables:
        if name == "outcomes":
            return contract.empty()
        raise ContractError(f"{name} is missing; recommendations read the cleaned tables of outreach. Clean it first.")
    return tables[name].select(contract.names).sort(contract.key)
