"""Rows of ``dbo.lead_scores``: made from predictions, brought into one form, refused where they cannot be stored.

Belongs here: the form of a row and the rules it must satisfy. Does not belong here: SQL. Every rule is checked before
a database is asked anything, so that a refusal names column, lead and limit and nothing is half written.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.tables import COLUMNS, KEY, LENGTHS, MOMENTS, NULLABLE

_SHOWN = 3
_NOTHING = "Nothing was written"
_OPTIONAL_PREDICTIONS = ("value", *NULLABLE[:2], *NULLABLE[3:9])
"""Columns that predictions of earlier versions lack."""
_TEXT = tuple(LENGTHS)
_NUMBERS = tuple(name for name in COLUMNS if name not in (*LENGTHS, *MOMENTS))


def score_rows(
    predictions: pl.DataFrame,
    *,
    org_id: str,
    label_column: str,
    probability_column: str,
    written_at: datetime,
    model_path: str | None = None,
    scaler_path: str | None = None,
    entity_id: str | None = None,
) -> pl.DataFrame:
    """Rows of ``dbo.lead_scores`` for scored leads.

    Args:
        predictions: the ``predictions`` table. Columns that earlier versions did not have (value, ranges, grade,
            percentile, reasons, change) are stored as unknown where they are not there.
        org_id: organisation the leads belong to.
        label_column: name of the target.
        probability_column: name of the probability.
        written_at: moment of writing, UTC.
        model_path: where the model file lies.
        scaler_path: where its preprocessing lies; None where the model carries its own.
        entity_id: column of ``predictions`` with what is acted on, of which a row is one of several; the newest row of
            each is its score. None where each row is one.

    Returns:
        One row a lead or entity with the columns ``COLUMNS``; times are naive UTC, as the column type stores no zone.
    """
    known = [
        name if name in predictions.columns else pl.lit(None, pl.String if name in LENGTHS else pl.Float64).alias(name)
        for name in _OPTIONAL_PREDICTIONS
    ]
    if entity_id is not None:
        newest = predictions.sort("created_time", "lead_id").unique(entity_id, keep="last", maintain_order=True)
        predictions = newest.with_columns(pl.col(entity_id).alias("lead_id"))
    return predictions.select(
        pl.lit(org_id).alias("org_id"),
        # Trailing blanks do not distinguish keys in T-SQL; the same key must mean the same row everywhere. Case stays:
        # some systems' ids differ in nothing else.
        pl.col("lead_id").str.strip_chars_end().alias("enrollment_id"),
        pl.lit(label_column).alias("label_col"),
        pl.col(probability_column).alias("score"),
        "elv",
        *known,
        "split",
        _utc("created_time").alias("prediction_time"),
        _utc("cutoff"),
        "calibration_method",
        "model_version",
        pl.lit(model_path, pl.String).alias("model_path"),
        pl.lit(scaler_path, pl.String).alias("scaler_path"),
        "run_id",
        pl.lit(written_at.astimezone(UTC).replace(tzinfo=None)).alias("run_timestamp_utc"),
    ).select(COLUMNS)


def storable(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the one form that is compared and stored, in any order; refused where a rule is broken.

    Text keys lose trailing blanks; times become naive UTC (a time without a zone is UTC already).

    Raises:
        ContractError: naming column, lead and rule.
    """
    absent = [name for name in COLUMNS if name not in rows.columns]
    if absent:
        raise ContractError(
            f"lead_scores: the rows to write lack the column(s) {', '.join(absent)}; every column of "
            f"{', '.join(COLUMNS)} is needed. {_NOTHING}."
        )
    try:
        typed = rows.select(
            *(pl.col(name).cast(pl.String).str.strip_chars_end() for name in KEY),
            *(pl.col(name).cast(pl.String) for name in _TEXT if name not in KEY),
            *(pl.col(name).cast(pl.Float64) for name in _NUMBERS),
            *(_utc(name) for name in MOMENTS),
        )
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"lead_scores: a column of the rows to write has the wrong type: numbers, texts and times are expected as "
            f"in the predictions ({type(error).__name__}). {_NOTHING}."
        ) from error
    typed = typed.select(COLUMNS)
    _refuse_empty_values(typed)
    _refuse_texts(typed)
    _refuse_numbers(typed)
    return typed


def _utc(column: str) -> pl.Expr:
    return pl.col(column).dt.cast_time_unit("us").dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _refuse(rows: pl.DataFrame, bad: pl.Expr, said: str, *, remedy: str) -> None:
    """Fail naming the first leads for which ``bad`` holds."""
    found = rows.filter(bad)
    if not found.height:
        return
    first = found["enrollment_id"].head(_SHOWN).to_list()
    ids = ", ".join("(empty)" if lead is None else shortened(lead) for lead in first)
    more = f" and {found.height - _SHOWN} more" if found.height > _SHOWN else ""
    raise ContractError(f"lead_scores: enrollment {ids}{more}: {said}. {_NOTHING}; {remedy}.")


def shortened(text: str) -> str:
    """An id as messages show it."""
    return text if len(text) <= 64 else f"{text[:61]}..."


def _refuse_empty_values(rows: pl.DataFrame) -> None:
    for name in COLUMNS:
        if name not in NULLABLE and name not in _NUMBERS and rows[name].null_count():
            what = "time" if name in MOMENTS else "text"
            _refuse(rows, pl.col(name).is_null(), f"{name} is empty; it must be a {what}", remedy="fill it")
    for name in KEY:
        _refuse(rows, pl.col(name) == "", f"{name} has nothing but blanks", remedy="give every lead an id")


def _refuse_texts(rows: pl.DataFrame) -> None:
    bytes_at_most = [pl.col(name).str.len_bytes().max().alias(name) for name in LENGTHS]
    # PostgreSQL stores no zero character, SQLite cuts the text there: the same text must come back everywhere.
    zero = [pl.col(name).str.contains("\x00", literal=True).any().alias(f"{name} zero") for name in LENGTHS]
    found = rows.lazy().select(*bytes_at_most, *zero).collect().row(0, named=True)
    for name, limit in LENGTHS.items():
        if (found[name] or 0) > limit:  # else it cannot have more characters, either
            length = pl.col(name).str.len_chars() + pl.col(name).str.count_matches(r"[\x{10000}-\x{10FFFF}]")
            said = f"{name} has up to {rows.select(length.max()).item()} characters; the column holds {limit}"
            _refuse(rows, length > limit, said, remedy="shorten it where it is made")
        if found[f"{name} zero"]:
            said = f"{name} has a zero character, which no database stores"
            _refuse(rows, pl.col(name).str.contains("\x00", literal=True), said, remedy="remove it where it is made")


def _refuse_numbers(rows: pl.DataFrame) -> None:
    for name in _NUMBERS:
        good = pl.col(name).is_finite().fill_null(name in NULLABLE)
        if rows.select(good.all()).item():
            continue
        bad = rows.filter(~good).sort("enrollment_id")
        lead, value = bad.select("enrollment_id", name).row(0)
        raise ContractError(
            f"lead_scores: {name} of enrollment {shortened(lead)} is {value}; a score must be a finite number "
            f"({bad.height} row(s)). {_NOTHING}; check the model's features."
        )
