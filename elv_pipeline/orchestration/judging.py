"""Judging a candidate: against the champion on the same rows, by the gates that are on, and in plain words.

Belongs here: reading what the rules need. Does not belong here: the rules (``decisions/``), or what becomes of the
candidate (``assets/registry.py``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.decisions.champion_comparison import ChampionComparison, compare
from elv_pipeline.decisions.gates import Gate, evaluate_gates
from elv_pipeline.decisions.readiness import ready_gate, verdict_of
from elv_pipeline.decisions.verdict import PlainVerdict
from elv_pipeline.errors import ScoringRefusedError, TrainingRefusedError
from elv_pipeline.learning.metrics import row_clusters
from elv_pipeline.learning.splits import SplitPlan
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model


def judged(
    deployment: Deployment, candidate: ModelHandle, compared: ChampionComparison | None
) -> tuple[list[Gate], PlainVerdict]:
    """Every gate that is on, and the verdict that the report of the training will give."""
    settings, metrics = deployment.config.promotion, candidate.evidence().metrics
    gates = evaluate_gates(metrics, settings, against_champion=compared, words=deployment.words)
    profile = deployment.lake.read_json("data_profile") or {}
    verdict = verdict_of(gates, metrics, findings=profile.get("findings", ()), words=deployment.words)
    return [*gates, *([ready_gate(verdict)] if settings.require_ready else [])], verdict


def compared_with(
    deployment: Deployment, candidate: ModelHandle, current: ModelHandle | None
) -> ChampionComparison | None:
    """The candidate beside the champion; None where there is no other one."""
    return _known_comparison(deployment, candidate, current) or _against_champion(deployment, candidate, current)


def _known_comparison(
    deployment: Deployment, candidate: ModelHandle, current: ModelHandle | None
) -> ChampionComparison | None:
    """What was found when the present champion was a candidate: judged again, it must not forget a failed gate."""
    if current is None or current.version != candidate.version:
        return None
    document = deployment.lake.read_json(f"model_validation/{candidate.origin_day(deployment.config.zone)}")
    if not document or document["candidate_sha256"] != candidate.sha256 or document["comparison"] is None:
        return None
    return ChampionComparison(**document["comparison"])


def _against_champion(
    deployment: Deployment, candidate: ModelHandle, current: ModelHandle | None
) -> ChampionComparison | None:
    """Both models on the candidate's test rows that the champion never learned from; None without another champion."""
    if current is None or current.version == candidate.version:
        return None
    origin = candidate.origin_day(deployment.config.zone)
    table = deployment.lake.read_frame(f"training_table/{origin}")
    if table is None:
        raise TrainingRefusedError(f"training_table of {origin} is gone; materialise it again before promoting.")
    test = candidate.evidence().scored.filter(pl.col("split") == "test").select("lead_id", "y", "p")
    rows = test.join(table.drop("y"), on="lead_id", how="inner", validate="1:1").sort("created_time", "lead_id")
    try:
        model = load_model(current)
        model.require_compatible(
            outcome_window_days=deployment.label_reach_days,
            feature_lag_days=deployment.config.feature_lag_days,
            target=deployment.config.label_column,
            timezone=deployment.config.timezone,
        )
        model.check_columns(rows)
    except ScoringRefusedError as error:
        why = str(error).splitlines()[0]
        return ChampionComparison.impossible(f"the champion cannot score the present features: {why}", blocks=False)
    # On rows that it learned from the champion would look better than it is.
    role = SplitPlan.from_dict(model.metadata["split"]).split_names(pl.col("created_time"))
    rows = rows.filter(~role.is_in(["train", "calibration"]))
    return compare(
        rows["y"].cast(pl.Int8).to_numpy(),
        candidate=rows["p"].to_numpy(),
        champion=model.predict(rows),
        clusters=row_clusters(rows, timezone=deployment.config.timezone, column=deployment.words.entity_id),
        seed=deployment.config.model.seed,
    )
