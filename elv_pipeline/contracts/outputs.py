"""The tables that leave: predictions, leaderboards, drift, performance and calibration bins.

Belongs here: what a consumer of the outputs may rely on. Does not belong here: how the numbers are computed.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME, Column, RowCheck, TableContract, at_least, between, one_of

SPLITS: tuple[str, ...] = ("train", "gap", "calibration", "test", "young", "score")

_REMEDY = "Nothing was published. This is a fault of the pipeline, not of the input: please report it with the run id."

_SCORED_LEAD = (
    Column("run_id", pl.String, "Run that made the score."),
    Column("lead_id", pl.String, "The lead."),
    Column("created_time", UTC_TIME, "When the lead was created: the prediction time."),
    Column("split", pl.String, "Role of the lead in the model's life.", checks=(one_of(*SPLITS),)),
)
_LEAD_VALUE = (
    Column(
        "value",
        pl.Float64,
        "What an outcome of this lead is worth: learned from realised values, else as configured.",
        unit="currency",
        checks=(at_least(0),),
    ),
    Column(
        "elv",
        pl.Float64,
        "Expected lead value: probability times value.",
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
_PLACE_AMONG_LEADS = (
    Column("rank", pl.Int64, "1 is the best lead of the run.", checks=(at_least(1),)),
    Column("decile", pl.Int64, "1 holds the best tenth.", checks=(between(1, 10),)),
    Column(
        "grade",
        pl.String,
        "A: at least twice the average lead's probability; B: at least it; C: at least half of it; D: below.",
        nullable=True,
        checks=(one_of("A", "B", "C", "D"),),
    ),
    Column(
        "percentile",
        pl.Float64,
        "Share of the judged leads with a lower score, in per cent.",
        "percent",
        nullable=True,
        checks=(between(0, 100),),
    ),
    Column(
        "score_change",
        pl.Float64,
        "Probability minus that of the model before, in percentage points; empty where none scored the lead.",
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
_LEAD_SEGMENTS = (
    Column("campaign_id", pl.String, "Campaign of the lead; empty where unknown.", nullable=True),
    Column("adset_id", pl.String, "Ad set of the lead; empty where unknown.", nullable=True),
    Column("ad_id", pl.String, "Ad of the lead; empty where unknown.", nullable=True),
)


def predictions_contract(probability_column: str) -> TableContract:
    """Contract of the predictions; the probability is named after its outcome window, e.g. ``p_qualified_14d``."""
    probability = Column(
        probability_column,
        pl.Float64,
        "Calibrated probability of the outcome within its window.",
        unit="probability",
        checks=(between(0, 1),),
    )
    return TableContract(
        name="predictions",
        description="One row a scored lead, best first.",
        key=("lead_id",),
        remedy=_REMEDY,
        columns=(*_SCORED_LEAD, probability, *_LEAD_VALUE, *_PLACE_AMONG_LEADS, *_MADE_BY, *_LEAD_SEGMENTS),
    )


def _interval(name: str, low: str, high: str) -> RowCheck:
    rule = f"must lie within {low} and {high}"

    def holds() -> pl.Expr:
        # Sums taken in another order differ in the last bits, and what those are worth grows with the amount.
        slack = 1e-9 * pl.max_horizontal(pl.col(low, name, high).abs())
        return (pl.col(low) <= pl.col(name) + slack) & (pl.col(name) <= pl.col(high) + slack)

    return RowCheck(name, rule, holds)


def of_days(contract: TableContract) -> TableContract:
    """The contract of many days of a table in one frame: with the column ``day``, which is part of the key."""
    day = Column("day", pl.Date, "Local day that the rows belong to.")
    return replace(contract, key=("day", *contract.key), columns=(*contract.columns, day))


_SEGMENT_MEASURES = (
    Column("lead_count", pl.Int64, "Leads counted; 0: spend without a lead.", unit="count", checks=(at_least(0),)),
    Column("spend", pl.Float64, "Spend; empty without an ads export.", "currency", True, checks=(at_least(0),)),
    Column("predicted_elv", pl.Float64, "Expected value of those leads, summed.", "currency", checks=(at_least(0),)),
    Column("elv_per_lead", pl.Float64, "Expected value a lead; empty without leads.", "currency", True),
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
        "mean_p", pl.Float64, "Mean probability; empty without leads.", "probability", True, checks=(between(0, 1),)
    ),
    Column("low_volume", pl.Boolean, "Fewer leads than reporting.min_segment_leads: read with care."),
    Column(
        "own_rows", pl.Int64, "Earlier leads of the segment whose outcome is known.", "count", checks=(at_least(0),)
    ),
    Column("own_positives", pl.Int64, "How many of them qualified.", "count", checks=(at_least(0),)),
    Column(
        "evidence",
        pl.String,
        "What the estimate of the rank rests on, beside the model.",
        checks=(one_of("own outcomes", "mostly the parent"),),
    ),
    Column(
        "shrunk_elv_per_lead",
        pl.Float64,
        "Expected value a lead, corrected by the known outcomes of the segment and its parents.",
        "currency",
        nullable=True,
    ),
    Column(
        "shrunk_elv_per_spend", pl.Float64, "The same per unit of spend; the order of the rank.", "ratio", nullable=True
    ),
    Column("shrunk_elv_per_spend_low", pl.Float64, "Lower end of its 90 % credible interval.", "ratio", True),
    Column("shrunk_elv_per_spend_high", pl.Float64, "Upper end of it.", "ratio", True),
    Column("rank", pl.Int64, "1 is the best segment.", checks=(at_least(1),)),
)
_SEGMENT_CHECKS = (
    _interval("predicted_elv", "elv_low", "elv_high"),
    _interval("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high"),
    _interval("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high"),
)
_CAMPAIGN_COLUMNS = (
    Column("campaign_id", pl.String, "The campaign; empty: leads whose campaign is unknown.", nullable=True),
    Column("campaign_name", pl.String, "Its latest name; empty without an ads export.", nullable=True),
)

CAMPAIGN_LEADERBOARD = TableContract(
    name="campaign_leaderboard",
    description="Campaigns by expected value, best first.",
    key=("campaign_id",),
    remedy=_REMEDY,
    columns=(*_CAMPAIGN_COLUMNS, *_SEGMENT_MEASURES),
    row_checks=_SEGMENT_CHECKS,
)

ADSET_LEADERBOARD = TableContract(
    name="adset_leaderboard",
    description="Ad sets by expected value, best first.",
    key=("campaign_id", "adset_id"),
    remedy=_REMEDY,
    columns=(
        *_CAMPAIGN_COLUMNS,
        Column("adset_id", pl.String, "The ad set; empty: leads whose ad set is unknown.", nullable=True),
        Column("adset_name", pl.String, "Its latest name; empty without an ads export.", nullable=True),
        *_SEGMENT_MEASURES,
    ),
    row_checks=_SEGMENT_CHECKS,
)

DRIFT = TableContract(
    name="drift",
    description="How far features, score, missing values, categories and outcomes are from the model's reference.",
    key=("kind", "column"),
    remedy=_REMEDY,
    columns=(
        Column("column", pl.String, "Feature, score, outcome or domain."),
        Column(
            "kind",
            pl.String,
            "What is compared.",
            checks=(one_of("feature", "score", "missing", "new_level", "prevalence", "domain"),),
        ),
        Column(
            "psi", pl.Float64, "Population stability index; empty for other kinds or with too few rows.", nullable=True
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
            "Expected value of the leads concerned; of outcomes, the value by which the promise was missed.",
            "currency",
            nullable=True,
            checks=(at_least(0),),
        ),
    ),
)

PERFORMANCE = TableContract(
    name="performance",
    description="Estimated and realised performance of the published scores by weekly cohort.",
    key=("cohort", "figure"),
    remedy=_REMEDY,
    columns=(
        Column("cohort", pl.Date, "Monday of the week in which the leads were created."),
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
        Column("estimated", pl.Float64, "From the probabilities alone: of mature leads, else of all.", nullable=True),
        Column("estimated_low", pl.Float64, "Lower end of what chance would show, 95 %.", nullable=True),
        Column("estimated_high", pl.Float64, "Upper end of it.", nullable=True),
        Column("realised", pl.Float64, "From the labels of the mature leads; empty while none is.", nullable=True),
        Column("realised_low", pl.Float64, "Lower end of its 95 % interval.", nullable=True),
        Column("realised_high", pl.Float64, "Upper end of it.", nullable=True),
        Column(
            "surprise",
            pl.Float64,
            "Realised against estimated in standard deviations of chance; negative is worse.",
            nullable=True,
        ),
        Column("rows", pl.Int64, "Leads of the cohort.", unit="count", checks=(at_least(0),)),
        Column("mature_rows", pl.Int64, "How many of them are judged.", unit="count", checks=(at_least(0),)),
        Column("complete", pl.Boolean, "Whether all of them are mature."),
        Column("model_versions", pl.String, "Versions of the models that made the scores."),
    ),
    row_checks=(RowCheck("mature_rows", "must not exceed rows", lambda: pl.col("mature_rows") <= pl.col("rows")),),
)

CALIBRATION_BINS = TableContract(
    name="calibration_bins",
    description="Predicted against observed rates on the test rows, by bins of the prediction.",
    key=("bin",),
    remedy=_REMEDY,
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
        _interval("observed_rate", "observed_low", "observed_high"),
    ),
)
