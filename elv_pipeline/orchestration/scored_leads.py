"""What a scoring run does with the leads of its days: whole days, late leads of scored days, days that are held.

Belongs here: which leads are scored, and how their rows come beside those that stay. Does not belong here: the asset
(``assets/scoring.py``), or the model's part (``decisions/predictions.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from elv_pipeline.decisions.predictions import ScoringRun, predictions, rank_predictions
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.assets.completeness import held_among
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import left_alone, note_unpublished
from elv_pipeline.orchestration.late_leads import note_late, unscored
from elv_pipeline.orchestration.partitions import DayRange


@dataclass(frozen=True, kw_only=True)
class ChosenDays:
    """What a run does with each of its days.

    Attributes:
        whole: every lead is scored.
        alone: scored before and not asked for: only leads that were never told a score are scored.
        held: inputs are incomplete: nothing is scored.
    """

    whole: list[date]
    alone: list[date]
    held: list[date]

    def told(self, scored: pl.DataFrame) -> dict[str, Any]:
        """For metadata: days that were left alone, and the late leads of others."""
        late = scored.filter(~pl.col("day").is_in(self.whole)).group_by("day").len().sort("day")
        left = sorted({*self.alone, *self.held} - set(late["day"]))
        return {
            "left_as_they_were": [str(day) for day in left],
            "late_leads": {str(day): count for day, count in late.iter_rows()},
        }


def chosen_days(deployment: Deployment, days: DayRange, *, only: Collection[str]) -> ChosenDays:
    """What is to be done with each day of a run; ``only`` are the days that are asked for, empty: all."""
    held = held_among(deployment, days.days)
    alone = left_alone(deployment, set(days.days) - set(held), only=only)
    return ChosenDays(whole=[day for day in days.days if day not in {*held, *alone}], alone=alone, held=held)


def score_leads(deployment: Deployment, chosen: ChosenDays, model: ModelBundle, *, run: ScoringRun) -> pl.DataFrame:
    """Score the leads of whole days, and the late ones of days that are left alone.

    That they have to be published is noted first, so that it is owed whatever happens from then on.
    """
    note_unpublished(deployment, chosen.whole, run_id=run.run_id)
    days = sorted({*chosen.whole, *chosen.alone, *chosen.held})
    features = deployment.scan("features", first=days[0], last=days[-1]).collect()
    late = unscored(deployment, features.filter(pl.col("day").is_in(chosen.alone)))
    note_late(deployment, late["day"].unique(), run_id=run.run_id)
    wanted = pl.concat([features.filter(pl.col("day").is_in(chosen.whole)), late])
    return predictions(wanted, model, run=run, previous=_previous(deployment, chosen.whole))


def write_scored(deployment: Deployment, scored: pl.DataFrame, chosen: ChosenDays) -> None:
    """Replace whole days and add late leads to the others; a held day that was never scored has no rows.

    Every day has one order. Rank and decile of its leads are those among all of them; nothing else that a lead was told
    changes, and a file without a late lead is not touched.
    """
    known = set(deployment.lake.days("predictions"))
    late = sorted(set(scored["day"]) & set(chosen.alone))
    frame = scored
    if late:
        rows = deployment.scan("predictions", first=late[0], last=late[-1]).filter(pl.col("day").is_in(late))
        kept = rows.collect().join(scored, on="lead_id", how="anti", maintain_order="left")
        frame = pl.concat([scored, kept], how="diagonal").select(scored.columns)
    days = [*chosen.whole, *late, *(day for day in chosen.held if day not in known)]
    deployment.lake.write_days("predictions", _ranked_by_day(frame, deployment), days=sorted(days))


def _previous(deployment: Deployment, days: list[date]) -> pl.DataFrame | None:
    """What these days' leads were told before; None where none of the days was scored, or by an older version of us."""
    written = sorted(set(deployment.lake.days("predictions")) & set(days))
    if not written:
        return None
    rows = deployment.scan("predictions", first=written[0], last=written[-1]).filter(pl.col("day").is_in(written))
    wanted = ("lead_id", deployment.config.probability_column, "model_version", "score_change")
    return rows.select(wanted).collect() if set(wanted) <= set(rows.collect_schema().names()) else None


def _ranked_by_day(scored: pl.DataFrame, deployment: Deployment) -> pl.DataFrame:
    """Rank within each day, so that a day is the same alone and in a range."""
    config = deployment.config
    return pl.concat(
        [
            rank_predictions(
                part,
                probability_column=config.probability_column,
                id_columns=deployment.words.id_columns,
            )
            for _, part in sorted(scored.group_by("day"), key=lambda group: str(group[0]))
        ]
        or [scored]
    )
