"""Dirty rows of declared kinds, and the list of them, so that a clean stage can be judged by what it should find.

Belongs here: what goes wrong in exports. Does not belong here: anything true about the organisation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

DUPLICATE, REPLY_BEFORE_SEND, MOJIBAKE = "exact_duplicate", "reply_before_send", "mojibake"
KINDS: Final = (DUPLICATE, REPLY_BEFORE_SEND, MOJIBAKE)
DUPLICATED_TABLES: Final = ("engagement_logs", "outcomes")
DIRT_SCHEMA: Final = {"kind": pl.String, "table": pl.String, "key": pl.String, "rows": pl.Int64}


def make_dirty(
    tables: dict[str, pl.DataFrame], *, share: float, rng: np.random.Generator
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The exports with dirt, and one row per kind, table and key of it (rows: how many rows are affected).

    - `exact_duplicate`: a row of the engagement logs or the outcomes once more, beside the first. Key: enrollment_id.
    - `reply_before_send`: the time of a reply lies before its step was sent. Key: enrollment_id@step_id.
    - `mojibake`: text with letters beyond ASCII, read as Latin-1 where it was UTF-8; regions (key: contact_id) and
      reply texts (key: enrollment_id@step_id).

    Args:
        tables: the clean exports.
        share: of the rows that could have a kind of dirt, how many do; 0 changes nothing.
        rng: stream of the dirt.
    """
    if share == 0:
        return tables, pl.DataFrame(schema=DIRT_SCHEMA)
    dirty, found = dict(tables), []
    step_key = pl.concat_str("enrollment_id", pl.lit("@"), "step_id")
    log = dirty["engagement_logs"]
    early = _chosen(_replies_to_known_steps(log), share=share, rng=rng)
    dirty["engagement_logs"] = _with_early_replies(log, chosen=early)
    found.append(_list(log.filter(early), kind=REPLY_BEFORE_SEND, table="engagement_logs", key=step_key))
    for table, column, key in (
        ("contacts", "region", pl.col("contact_id")),
        ("engagement_logs", "response_text", step_key),
    ):
        rows = dirty[table]
        foreign = rows[column].str.contains(r"[^\x00-\x7f]").fill_null(False)
        chosen = _chosen(foreign, share=share, rng=rng)
        broken = rows[column].zip_with(~chosen, _misread(rows[column]))
        dirty[table] = rows.with_columns(broken.alias(column))
        found.append(_list(rows.filter(chosen), kind=MOJIBAKE, table=table, key=key))
    for table in DUPLICATED_TABLES:
        rows = dirty[table]
        chosen = _chosen(pl.Series(np.ones(rows.height, dtype=np.bool_)), share=share, rng=rng)
        twice = pl.Series(np.repeat(np.arange(rows.height), 1 + chosen.to_numpy().astype(np.int64)))
        dirty[table] = rows[twice]
        found.append(_list(rows.filter(chosen), kind=DUPLICATE, table=table, key=pl.col("enrollment_id")))
    return dirty, pl.concat(found)


def _chosen(possible: pl.Series, *, share: float, rng: np.random.Generator) -> pl.Series:
    """A share of the rows that can have it, at least one where any can."""
    rows = np.flatnonzero(possible.to_numpy())
    chosen = np.zeros(len(possible), dtype=np.bool_)
    chosen[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return pl.Series(chosen, dtype=pl.Boolean)


def _replies_to_known_steps(log: pl.DataFrame) -> pl.Series:
    """Which rows are replies to a step whose sending is in the log, which it need not be at the end."""
    sent = (pl.col("event") == "sent").any().over("enrollment_id", "step_id")
    return log.select((pl.col("event") == "replied") & sent).to_series()


def _with_early_replies(log: pl.DataFrame, *, chosen: pl.Series) -> pl.DataFrame:
    """The log with the chosen replies three hours before their step was sent; when they were recorded stays."""
    keys = ["enrollment_id", "step_id"]
    sent = log.filter(pl.col("event") == "sent").select(*keys, sent_time="event_time")
    joined = log.with_columns(chosen.alias("early")).join(
        sent, on=keys, how="left", validate="m:1", maintain_order="left"
    )
    early = pl.when("early").then(pl.col("sent_time") - timedelta(hours=3)).otherwise("event_time")
    return joined.with_columns(event_time=early).drop("early", "sent_time")


def _misread(texts: pl.Series) -> pl.Series:
    """UTF-8 read as Latin-1."""
    distinct = texts.drop_nulls().unique().sort()
    broken = [text.encode().decode("latin-1") for text in distinct.to_list()]
    return texts.replace_strict(distinct, broken, default=None, return_dtype=pl.String)


def _list(rows: pl.DataFrame, *, kind: str, table: str, key: pl.Expr) -> pl.DataFrame:
    return (
        rows.select(kind=pl.lit(kind), table=pl.lit(table), key=key)
        .group_by("kind", "table", "key", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64))
    )
