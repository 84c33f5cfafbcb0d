"""Leaderboards as they leave: the columns of a board of any level, with or without what its segments cost.

Belongs here: what a consumer of a board may rely on. Does not belong here: other tables that leave (``outputs.py``) or
how the numbers are computed (``decisions/leaderboards.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from elv_pipeline.contracts.spec import Column, RowCheck, TableContract, at_least, between, one_of
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

REMEDY = "Nothing was published. This is a fault of the pipeline, not of the input: please report it with the run id."


def id_column(name: str, description: str) -> Column:
    """An id, which may be unknown."""
    return Column(name, pl.String, description, nullable=True)


def lies_within(name: str, low: str, high: str) -> RowCheck:
    """A value lies within its interval."""
    rule = f"must lie within {low} and {high}"

    def holds() -> pl.Expr:
        # Sums taken in another order differ in the last bits, and what those are worth grows with the amount.
        slack = 1e-9 * pl.max_horizontal(pl.col(low, name, high).abs())
        return (pl.col(low) <= pl.col(name) + slack) & (pl.col(name) <= pl.col(high) + slack)

    return RowCheck(name, rule, holds)


SPEND_COLUMNS: tuple[str, ...] = (
    *("spend", "elv_per_spend", "elv_per_spend_low", "elv_per_spend_high"),
    *("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high"),
)
"""Columns of a board that only a problem with spend has."""
_SEGMENT_CHECKS = (
    lies_within("predicted_elv", "elv_low", "elv_high"),
    lies_within("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high"),
    lies_within("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high"),
)


def leaderboard_contract(
    level: str,
    *,
    id_columns: Sequence[str],
    name_columns: Mapping[str, str],
    with_spend: bool = True,
    words: Words = QUALIFIED_LEADS,
) -> TableContract:
    """Contract of the leaderboard of one level.

    Args:
        level: name of the level, such as ``campaign``; the table is named after it.
        id_columns: what identifies a segment; the last one is the segment itself.
        name_columns: id column -> the column with its name, for ids that have one.
        with_spend: whether the problem knows what a segment costs; without it the board has no column of spend.
        words: what the problem calls its rows and levels.
    """
    columns: list[Column] = []
    for name in id_columns:
        said = words.level_of(name)
        noun = said.singular if said else name.removesuffix("_id")
        columns.append(id_column(name, f"The {noun}; empty: {words.entities} whose {noun} is unknown."))
        if name in name_columns:
            absent = "without an ads export" if words.from_ads else "where it has none"
            columns.append(id_column(name_columns[name], f"Its latest name; empty {absent}."))
    noun_of_level = words.level_of(id_columns[-1])
    title = noun_of_level.plural if noun_of_level else f"{level}s"
    return TableContract(
        name=f"{level}_leaderboard",
        description=f"{title[0].upper()}{title[1:]} by expected value, best first.",
        key=tuple(id_columns),
        remedy=REMEDY,
        columns=(*columns, *_segment_measures(words, with_spend=with_spend)),
        row_checks=_SEGMENT_CHECKS if with_spend else _SEGMENT_CHECKS[:1],
    )


def _segment_measures(words: Words, *, with_spend: bool) -> tuple[Column, ...]:
    row, rows = words.entity, words.entities
    counted = f"{rows[0].upper()}{rows[1:]} counted" + (f"; 0: spend without a {row}." if with_spend else ".")
    known = (
        Column("lead_count", pl.Int64, counted, unit="count", checks=(at_least(0),)),
        Column("spend", pl.Float64, "Spend; empty without an ads export.", "currency", True, checks=(at_least(0),)),
        Column(
            "predicted_elv", pl.Float64, f"Expected value of those {rows}, summed.", "currency", checks=(at_least(0),)
        ),
        Column("elv_per_lead", pl.Float64, f"Expected value a {row}; empty without {rows}.", "currency", True),
        Column(
            "elv_low",
            pl.Float64,
            "Lower end of the 95 % interval of the realised value.",
            "currency",
            checks=(at_least(0),),
        ),
        Column(
            "elv_high",
            pl.Float64,
            "Upper end of the 95 % interval of the realised value.",
            "currency",
            checks=(at_least(0),),
        ),
        Column("elv_per_spend", pl.Float64, "Expected value per unit of spend; empty without spend.", "ratio", True),
        Column("elv_per_spend_low", pl.Float64, "Lower end of its interval.", "ratio", True),
        Column("elv_per_spend_high", pl.Float64, "Upper end of its interval.", "ratio", True),
        Column(
            "mean_p",
            pl.Float64,
            f"Mean probability; empty without {rows}.",
            "probability",
            True,
            checks=(between(0, 1),),
        ),
        Column("low_volume", pl.Boolean, f"Fewer {rows} than reporting.min_segment_leads: read with care."),
        *_evidence_of_segments(words),
    )
    return known if with_spend else tuple(column for column in known if column.name not in SPEND_COLUMNS)


def _evidence_of_segments(words: Words) -> tuple[Column, ...]:
    """What a segment's own outcomes say of it, and the order that follows."""
    row, rows = words.entity, words.entities
    return (
        Column(
            "own_rows",
            pl.Int64,
            f"Earlier {rows} of the segment whose outcome is known.",
            "count",
            checks=(at_least(0),),
        ),
        Column("own_positives", pl.Int64, f"How many of them {words.happened}.", "count", checks=(at_least(0),)),
        Column(
            "evidence",
            pl.String,
            "What the estimate of the rank rests on, beside the model.",
            checks=(one_of("own outcomes", "mostly the parent"),),
        ),
        Column(
            "shrunk_elv_per_lead",
            pl.Float64,
            f"Expected value a {row}, corrected by the known outcomes of the segment and its parents.",
            "currency",
            nullable=True,
        ),
        Column(
            "shrunk_elv_per_spend",
            pl.Float64,
            "The same per unit of spend; the order of the rank.",
            "ratio",
            nullable=True,
        ),
        Column("shrunk_elv_per_spend_low", pl.Float64, "Lower end of its 90 % credible interval.", "ratio", True),
        Column("shrunk_elv_per_spend_high", pl.Float64, "Upper end of it.", "ratio", True),
        Column("rank", pl.Int64, "1 is the best segment.", checks=(at_least(1),)),
    )


_NAMES_OF_LEADS = {"campaign_id": "campaign_name", "adset_id": "adset_name"}
CAMPAIGN_LEADERBOARD = leaderboard_contract("campaign", id_columns=("campaign_id",), name_columns=_NAMES_OF_LEADS)
ADSET_LEADERBOARD = leaderboard_contract("adset", id_columns=("campaign_id", "adset_id"), name_columns=_NAMES_OF_LEADS)
