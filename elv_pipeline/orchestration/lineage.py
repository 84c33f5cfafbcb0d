"""Column lineage of every table that is not a feature table: which columns each column is made of.

Belongs here: the declarations. Does not belong here: lineage of features (their declarations carry it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import dagster as dg

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.publishing.scores.writing import LEAD_SCORES

Sources = Sequence[tuple[str, str]]


def column_lineage(
    sources: Mapping[str, Sources], *, key: Callable[[str], dg.AssetKey], tables: Iterable[str]
) -> dg.TableColumnLineage:
    """Lineage as Dagster shows it; tables that this configuration does not have are left out."""
    present = set(tables)
    return dg.TableColumnLineage(
        deps_by_column={
            # Several tables may be one asset.
            column: [
                dg.TableColumnDep(asset_key=place, column_name=name)
                for place, name in dict.fromkeys((key(table), name) for table, name in made_of if table in present)
            ]
            for column, made_of in sources.items()
        }
    )


def carried(table: str, columns: Iterable[str]) -> dict[str, Sources]:
    """Columns that are carried over under their own name."""
    return {column: ((table, column),) for column in columns}


LABEL_TIMES: dict[str, Sources] = {
    **carried("joined_leads", ("lead_id", "created_time", "day")),
    "outcome_time": (("outcomes", "qualified_time"),),
    "outcome_recorded_time": (("outcomes", "recorded_time"),),
    "outcome_withdrawn_time": (("outcomes", "withdrawn_time"),),
    "outcome_value_micros": (("outcomes", "value_micros"),),
    "outcome_observed": (("outcomes", "lead_id"),),
    "labels_observed_until": (("leads", "created_time"), ("outcomes", "recorded_time")),
}

_STATUS = (("matured_labels", "created_time"), ("matured_labels", "outcome_time"))
_KNOWN = (("matured_labels", "outcome_recorded_time"), ("matured_labels", "outcome_withdrawn_time"))
LABEL_STATUS: dict[str, Sources] = {
    "label_status": (*_STATUS, *_KNOWN),
    "mature": (*_STATUS[:1], ("matured_labels", "labels_observed_until")),
    "y": (*_STATUS, *_KNOWN),
}


_FROM_FEATURES = (
    *("value", "elv", "elv_low", "elv_high", "rank", "decile", "grade", "percentile", "score_change"),
    *("reason_1", "reason_2", "reason_3"),
)


def predictions_lineage(
    probability_column: str, *, features: Iterable[str], table: str, id_columns: Iterable[str]
) -> dict[str, Sources]:
    """Predictions carry a row's keys; the probability and what follows from it are made of every feature."""
    made_of = tuple((table, name) for name in features)
    keys = carried(table, ("lead_id", "created_time", *id_columns))
    return {**keys, **dict.fromkeys((probability_column, *_FROM_FEATURES), made_of)}


def board_lineage(probability_column: str, *, columns: Iterable[str]) -> dict[str, Sources]:
    """Leaderboards sum predictions and spend by segment."""
    value = (("predictions", probability_column), ("predictions", "elv"))
    spend = (("ads", "spend_micros"),)
    outcomes = (("outcomes", "qualified_time"),)
    known: dict[str, Sources] = {
        **carried("predictions", ("campaign_id", "adset_id", "template_id", "step_id")),
        **carried("ads", ("campaign_name", "adset_name")),
        **dict.fromkeys(("lead_count", "low_volume"), (("predictions", "lead_id"),)),
        **dict.fromkeys(("own_rows", "own_positives", "evidence"), outcomes),
        "shrunk_elv_per_lead": (*value, *outcomes),
        **dict.fromkeys(
            ("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high"),
            (*value, *outcomes, *spend),
        ),
        **dict.fromkeys(("predicted_elv", "elv_per_lead", "elv_low", "elv_high", "mean_p"), value),
        "spend": spend,
        **dict.fromkeys(("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high"), (*value, *spend)),
        "rank": (*value, *outcomes, *spend),
    }
    return {column: known[column] for column in columns if column in known}


def drift_lineage(probability_column: str, *, features: Iterable[str]) -> dict[str, Sources]:
    """Drift compares features and score with the model's reference."""
    made_of = (*(("features", name) for name in features), ("predictions", probability_column))
    return dict.fromkeys(DRIFT.names, made_of)


def scores_lineage(probability_column: str) -> dict[str, Sources]:
    """The SQL table repeats predictions under the names of its consumers."""
    renamed = {
        "enrollment_id": "lead_id",
        "score": probability_column,
        "prediction_time": "created_time",
        "run_timestamp_utc": "scored_at",
    }
    named_by_configuration = ("org_id", "label_col")
    return {
        name: (("predictions", renamed.get(name, name)),)
        for name in (str(column) for column in LEAD_SCORES.c.keys())  # noqa: SIM118  # not a dictionary
        if name not in named_by_configuration
    }
