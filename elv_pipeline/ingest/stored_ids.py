"""Identifiers at the door: what is stored of them, and how a file says that its ids are that already.

Belongs here: applying the configured hashing to rows of an export or an extract. Does not belong here: the hash itself
(``privacy``).
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from elv_pipeline.privacy import IdHasher, hasher_of
from elv_pipeline.settings import PipelineConfig

_MARK = "elv.hashed_ids"


def stored_ids(rows: pl.DataFrame, config: PipelineConfig, *, table: str) -> pl.DataFrame:
    """Rows of an export, under canonical column names, with identifiers as they may be stored.

    Values that the table's ``null_values`` name are no identifiers and stay.

    Raises:
        ConfigError: identifiers are to be hashed and there is no key.
    """
    hasher = hasher_of(config)
    if hasher is None:
        return rows
    null_values = getattr(config.contracts, table).null_values
    return hasher.frame(rows, keep={value.strip() for value in null_values})


def hashing_mark(config: PipelineConfig) -> dict[str, str]:
    """Metadata for a Parquet file whose rows went through ``stored_ids``; empty where nothing is hashed."""
    hasher = hasher_of(config)
    return {} if hasher is None else {_MARK: _content(hasher)}


def is_hashed_already(file: Path, config: PipelineConfig) -> bool:
    """Whether a file carries the mark of this configuration's columns and key, so that it must not be hashed again."""
    hasher = hasher_of(config)
    if hasher is None or file.suffix.lower() not in (".parquet", ".pq"):
        return False
    return pl.read_parquet_metadata(file).get(_MARK) == _content(hasher)


def _content(hasher: IdHasher) -> str:
    return json.dumps({"columns": sorted(hasher.columns), "key": hasher.fingerprint}, sort_keys=True)
