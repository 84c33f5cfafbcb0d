"""The tables that leave: predictions, leaderboards, drift, performance and calibration bins.

Belongs here: what a consumer of the outputs may rely on. Does not belong here: how the numbers are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.leaderboards import (
    ADSET_LEADERBOARD,
    CAMPAIGN_LEADERBOARD,
    REMEDY,
    id_column,
    leaderboard_contract,
    lies_within,
)
from elv_pipeline.contracts.spec import UTC_TIME, Column, RowCheck, TableContract, at_least, between, one_of
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

__all__ = [
    "ADSET_LEADERBOARD",
    "CALIBRATION_BINS",
    "CAMPAIGN_LEADERBOARD",
    "DRIFT",
    "LEAD_ADS_IDS",
    "PERFORMANCE",
    "SPLITS",
    "drift_contract",
    "leaderboard_contract",
    "of_days",
    "performance_contract",
    "predictions_contract",
]

SPLITS: tuple[str, ...] = ("train", "gap", "calibration", "test", "young", "score")


LEAD_ADS_IDS: tuple[str, ...] = ("campaign_id", "adset_id", "ad_id")
"""Where a lead belongs, as the predictions publish it."""


def predictions_contract(
    probability_column: str, *, id_columns: Sequence[str] = LEAD_ADS_IDS, words: Words = QUALIFIED_LEADS
) -> TableContract:
    """Contract of the predictions.

    Args:
        probability_column: named after its outcome window, such as ``p_qualified_14d``.
        id_columns: where a row belongs, in their published order; all may be empty.
        words: what the problem calls its rows.
    """
    probability = Column(
        probability_column,
        pl.Float64,
        "Calibrated probability of the outcome within its window.",
        unit="probability",
        checks=(between(0, 1),),
    )
    return TableContract(
        name="predictions",
        description=f"One row a scored {words.row}, best first.",
        key=("lead_id",),
        remedy=REMEDY,
        columns=(
            *_scored_row(words),
            probability,
            *_row_value(words),
            *_place_among_rows(words),
            *_MADE_BY,
            *(
                id_column(name, f"{_named(name, words)} of the {words.row}; empty where unknown.")
                for name in id_columns
            ),
        ),
    )


def _named(id_column: str, words: Words) -> str:
    """What an id column identifies, as a sentence begins: its level's name, else its own without ``_id``."""
    noun = words.level_of(id_column)
    said = noun.singular if noun else id_column.removesuffix("_id").replace("_", " ")
    return said[0].upper() + said[1:]


def _scored_row(words: Words) -> tuple[Column, ...]:
    return (
        Column("run_id", pl.String, "Run that made the score."),
        Column("lead_id", pl.String, f"The {words.row}."),
        Column("created_time", UTC_TIME, f"When the {words.row} was {words.created}: the prediction time."),
        Column("split", pl.String, f"Role of the {words.row} in the model's life.", checks=(one_of(*SPLITS),)),
    )


def _row_value(words: Words) -> tuple[Column, ...]:
    return (
        Column(
            "value",
            pl.Float64,
            f"What an outcome of this {words.row} is worth: learned from realised values, else as configured.",
            unit="currency",
            checks=(at_least(0),),
        ),
        Column(
            "elv",
            pl.Float64,
            f"{words.value_name}: probability times value.",
            unit="currency",
            checks=(at_least(0),),
        ),
        Column(
            "elv_low",
            pl.Float64,
            "Lower end of the 90 % range of the expected value: how far off probabilities like this were.",
            "currency",
            nullable=True,
            checks=(at_least(0),),
        ),
        Column("elv_high", pl.Float64, "Upper end of that range.", "currency", nullable=True, checks=(at_least(0),)),
    )


def _place_among_rows(words: Words) -> tuple[Column, ...]:
    return (
        Column("rank", pl.Int64, f"1 is the best {words.row} of the run.", checks=(at_least(1),)),
        Column("decile", pl.Int64, "1 holds the best tenth.", checks=(between(1, 10),)),
        Column(
            "grade",
            pl.String,
            f"A: at least twice the average {words.row}'s probability; B: at least it; C: at least half of it; "
            "D: below.",
            nullable=True,
            checks=(one_of("A", "B", "C", "D"),),
        ),
        Column(
            "percentile",
            pl.Float64,
            f"Share of the judged {words.rows} with a lower score, in per cent.",
            "percent",
            nullable=True,
            checks=(between(0, 100),),
        ),
        Column(
            "score_change",
            pl.Float64,
            "Probability minus that of the model before, in percentage points; empty where none scored the "
            f"{words.row}.",
            "percentage points",
            nullable=True,
        ),
        *(
            Column(f"reason_{place}", pl.String, "What raises or lowers the score most, in words.", nullable=True)
            for place in (1, 2, 3)
        ),
    )


_MADE_BY = (
    Column("cutoff", UTC_TIME, "The model saw nothing recorded at or after this moment."),
    Column("calibration_method", pl.String, "How margins became probabilities."),
    Column("model_version", pl.String, "Version of the model in the registry."),
    Column("scored_at", UTC_TIME, "When the score was made."),
)


def of_days(contract: TableContract) -> TableContract:
    """The contract of many days of a table in one frame: with the column ``day``, which is part of the key."""
    day = Column("day", pl.Date, "Local day that the rows belong to.")
    return replace(contract, key=("day", *contract.key), columns=(*contract.columns, day))


def drift_contract(words: Words = QUALIFIED_LEADS) -> TableContract:
    """Contract of the comparisons with the model's reference."""
    return TableContract(
        name="drift",
        description="How far features, score, missing values, categories and outcomes are from the model's reference.",
        key=("kind", "column"),
        remedy=REMEDY,
        columns=(
            Column("column", pl.String, "Feature, score, outcome or domain."),
            Column(
                "kind",
                pl.String,
                "What is compared.",
                checks=(one_of("feature", "score", "missing", "new_level", "prevalence", "domain"),),
            ),
            Column(
                "psi",
                pl.Float64,
                "Population stability index; empty for other kinds or with too few rows.",
                nullable=True,
            ),
            Column("threshold", pl.Float64, "Alarm level of psi, or of effect where there is no psi.", nullable=True),
            Column("drifted", pl.Boolean, "Whether it is far enough to be called out.", nullable=True),
            Column("rows_reference", pl.Int64, "Rows of the reference.", unit="count", checks=(at_least(0),)),
            Column("rows_current", pl.Int64, "Rows compared with it.", unit="count", checks=(at_least(0),)),
            Column("note", pl.String, "Why a value is missing, or what to look at.", nullable=True),
            Column("effect", pl.Float64, "Size of the difference, as effect_name measures it.", nullable=True),
            Column("effect_name", pl.String, "How effect is measured.", nullable=True),
            Column("expected", pl.Float64, "Mean, share or rate of the reference or of the promise.", nullable=True),
            Column("observed", pl.Float64, "Mean, share or rate of the rows.", nullable=True),
            Column("p_value", pl.Float64, "How often as much is seen without drift.", "probability", True),
            Column(
                "money_at_stake",
                pl.Float64,
                f"Expected value of the {words.rows} concerned; of outcomes, the value by which the promise was "
                "missed.",
                "currency",
                nullable=True,
                checks=(at_least(0),),
            ),
        ),
    )


DRIFT = drift_contract()


def performance_contract(words: Words = QUALIFIED_LEADS) -> TableContract:
    """Contract of estimated and realised performance by weekly cohort."""
    return TableContract(
        name="performance",
        description="Estimated and realised performance of the published scores by weekly cohort.",
        key=("cohort", "figure"),
        remedy=REMEDY,
        columns=(
            Column("cohort", pl.Date, f"Monday of the week in which the {words.rows} were {words.created}."),
            Column(
                "figure",
                pl.String,
                "What is measured.",
                checks=(
                    one_of(
                        *("log_loss", "brier", "roc_auc", "pr_auc"),
                        *("precision_at_10pct", "capture_at_10pct", "positives", "value"),
                    ),
                ),
            ),
            Column(
                "estimated",
                pl.Float64,
                f"From the probabilities alone: of mature {words.rows}, else of all.",
                nullable=True,
            ),
            Column("estimated_low", pl.Float64, "Lower end of what chance would show, 95 %.", nullable=True),
            Column("estimated_high", pl.Float64, "Upper end of it.", nullable=True),
            Column(
                "realised",
                pl.Float64,
                f"From the labels of the mature {words.rows}; empty while none is.",
                nullable=True,
            ),
            Column("realised_low", pl.Float64, "Lower end of its 95 % interval.", nullable=True),
            Column("realised_high", pl.Float64, "Upper end of it.", nullable=True),
            Column(
                "surprise",
                pl.Float64,
                "Realised against estimated in standard deviations of chance; negative is worse.",
                nullable=True,
            ),
            Column("rows", pl.Int64, f"{words.title_rows} of the cohort.", unit="count", checks=(at_least(0),)),
            Column("mature_rows", pl.Int64, "How many of them are judged.", unit="count", checks=(at_least(0),)),
            Column("complete", pl.Boolean, "Whether all of them are mature."),
            Column("model_versions", pl.String, "Versions of the models that made the scores."),
        ),
        row_checks=(RowCheck("mature_rows", "must not exceed rows", lambda: pl.col("mature_rows") <= pl.col("rows")),),
    )


PERFORMANCE = performance_contract()

CALIBRATION_BINS = TableContract(
    name="calibration_bins",
    description="Predicted against observed rates on the test rows, by bins of the prediction.",
    key=("bin",),
    remedy=REMEDY,
    columns=(
        Column("bin", pl.Int64, "Bin, lowest predictions first."),
        Column("rows", pl.Int64, "Test rows in the bin.", unit="count", checks=(at_least(0),)),
        Column("positives", pl.Int64, "Outcomes among them.", unit="count", checks=(at_least(0),)),
        Column("mean_predicted", pl.Float64, "Mean probability.", "probability", checks=(between(0, 1),)),
        Column("observed_rate", pl.Float64, "Share with the outcome.", "probability", checks=(between(0, 1),)),
        Column("observed_low", pl.Float64, "Lower end, Wilson 95 %.", "probability", checks=(between(0, 1),)),
        Column("observed_high", pl.Float64, "Upper end, Wilson 95 %.", "probability", checks=(between(0, 1),)),
    ),
    row_checks=(
        RowCheck("positives", "must not exceed rows", lambda: pl.col("positives") <= pl.col("rows")),
        lies_within("observed_rate", "observed_low", "observed_high"),
    ),
)
