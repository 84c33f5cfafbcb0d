"""Learning assets: the training table of an origin, the candidate trained on it, and the champion.

Belongs here: the asset functions. Does not belong here: splits, fitting, metrics (``learning/``) or the promotion rule
(``decisions/promotion.py``).
"""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.decisions.promotion import Promotion, compare, without_comparison
from elv_pipeline.errors import ScoringRefusedError, TrainingRefusedError
from elv_pipeline.lake import content_checksum
from elv_pipeline.learning.metrics import day_clusters
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline.monitoring.drift import drift, main_columns, reference_of
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import lineage, picture, schema_of_frame, table_metadata
from elv_pipeline.orchestration.lineage import LABEL_STATUS, carried
from elv_pipeline.orchestration.partitions import PARTITION_TAG, origin_key
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.charts import importance_chart, lift_and_gains, reliability
from elv_pipeline.publishing.content import day_span
from elv_pipeline.publishing.model_registry import (
    CandidateEvidence,
    ModelHandle,
    ModelRegistry,
    load_model,
    read_handle,
    save_candidate,
    write_handle,
)
from elv_pipeline.tables.training_table import training_table as build_training_table

SCORE = "score"
"""Name of the score's own entry in drift references and results."""


def learning_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Training table, candidate and champion."""
    return [
        _training_table_asset(deployment, parts),
        _candidate_asset(deployment, parts),
        _champion_asset(deployment, parts),
    ]


def learning_spec(deployment: Deployment) -> LearningSpec:
    """What to learn, from the configuration and the declared features."""
    config = deployment.config
    data = deployment.data()
    columns = deployment.problem.feature_columns(data, lag_days=config.feature_lag_days)
    return LearningSpec(
        target=config.label_column,
        outcome_window_days=config.label_window_days,
        feature_lag_days=config.feature_lag_days,
        numeric_features=tuple(column.name for column in columns if column.kind == "numeric"),
        categorical_features=tuple(column.name for column in columns if column.kind == "categorical"),
        model_type=config.model.model_type,
        timezone=config.timezone,
        seed=config.model.seed,
        min_labelled_rows=config.model.min_labelled_rows,
        min_positives=config.model.min_positives,
        test_fraction=config.model.test_fraction,
        calibration_fraction=config.model.calibration_fraction,
        min_calibration_positives=config.model.min_calibration_positives,
        bootstrap_samples=config.model.bootstrap_samples,
        segment_error_days=config.reporting.leaderboard_days,
        threads=config.model.threads,
    )


def _training_table_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    config = deployment.config
    weeks = -(-config.model.training_window_days // 7)

    @asset(
        **parts.weekly(
            "training_table",
            group="learning",
            kinds={"polars", "parquet"},
            deps={"features": Window(-weeks, -1), "matured_labels": Window(-weeks, -1)},
        ),
        description="Features and labels as they stood at the origin: no outcome recorded at or after it, and only "
        "leads whose outcome window had passed carry a label.",
    )
    def training_table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        origin = origin_key(context)
        with narrated(context, f"assembling the training table as of {origin}"):
            table = assemble_training_table(deployment, origin)
            deployment.lake.write_frame(f"training_table/{origin}", table)
        labelled = table["y"].drop_nulls()
        return dg.MaterializeResult(
            metadata={
                **table_metadata(table, schema=schema_of_frame(table)),
                "dagster/column_lineage": lineage(
                    {**carried("features", table.drop(LABEL_STATUS).columns), **LABEL_STATUS}, deployment=deployment
                ),
                "labelled_rows": labelled.len(),
                "positives": int(labelled.sum()),
                "young_or_unrecorded": table.height - labelled.len(),
            },
            data_version=dg.DataVersion(content_checksum(table)),
        )

    return training_table


def require_outcomes(deployment: Deployment) -> None:
    """Refuse to train where nothing can be labelled.

    Raises:
        TrainingRefusedError: no outcomes export is configured.
    """
    if deployment.config.paths.outcomes_path is None:
        raise TrainingRefusedError(
            f"{deployment.name}: paths.outcomes_path is null, so nothing is labelled and no model can be trained. "
            f"Set it to an export of qualified leads, or score with a model trained elsewhere (--model)."
        )


def assemble_training_table(deployment: Deployment, origin: date) -> pl.DataFrame:
    """Read the origin's window and join features with labels.

    Raises:
        TrainingRefusedError: no outcomes are configured, or labels are stale.
        ElvError: a needed day is not materialised.
    """
    config = deployment.config
    require_outcomes(deployment)
    first = max(origin - timedelta(days=config.model.training_window_days), deployment.first_day)
    last = origin - timedelta(days=1)
    if config.end_date:
        last = min(last, config.end_date)
    deployment.require_history(["features", "matured_labels"], first=first, last=last)
    deployment.require_recipe()
    return build_training_table(
        deployment.scan("features", first=first, last=last),
        deployment.scan("matured_labels", first=first, last=last),
        observation=deployment.observation(origin=deployment.midnight(origin)),
        labelled=True,
    )


def _candidate_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.weekly(
            "candidate_model",
            group="learning",
            kinds={
                deployment.config.model.model_type.replace("logreg", "scikitlearn").replace("lgbm", "lightgbm"),
                "mlflow",
            },
            deps={"training_table": None},
        ),
        description="Model trained as of the origin, calibrated and judged on later rows against the baselines; logged "
        "to MLflow and registered. The judged model is the one that is registered.",
        check_specs=[
            dg.AssetCheckSpec(
                "beats_constant",
                asset=parts.key("candidate_model"),
                description="Log loss is below the constant's, with the interval excluding zero.",
            )
        ],
    )
    def candidate_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        origin = origin_key(context)
        table = deployment.lake.read_frame(f"training_table/{origin}")
        if table is None:
            raise TrainingRefusedError(f"training_table of {origin} is not materialised. Run 'elv train'.")
        with narrated(context, f"training, calibrating and judging on {table.height:,} leads as of {origin}"):
            result = train(table, learning_spec(deployment), origin=deployment.midnight(origin))
            _add_references(result, table, stretch_days=deployment.config.reporting.drift_days)
            handle = _register(deployment, result, origin)
        difference = result.metrics["differences"]["constant"]["log_loss"]
        better = difference["high"] is not None and difference["high"] < 0
        return dg.MaterializeResult(
            metadata={
                "model": f"{handle.name} version {handle.version}",
                "model_file": dg.MetadataValue.path(handle.path),
                "tracking_run_id": handle.tracking_run_id,
                "metrics": dg.MetadataValue.md(_metrics_table(result.metrics, timezone=deployment.config.timezone)),
                "calibration": picture(reliability(result.calibration_bins), title="Calibration on the test rows"),
                "lift": picture(lift_and_gains(result.gains), title="Lift and gains on the test rows"),
                "importance": picture(importance_chart(result.importance), title="Permutation importance"),
                "split": result.plan.to_dict(),
                **{
                    name: figure["value"]
                    for name, figure in result.metrics["models"]["model"].items()
                    if figure["value"] is not None
                },
            },
            data_version=dg.DataVersion(handle.sha256),
            check_results=[
                dg.AssetCheckResult(
                    check_name="beats_constant",
                    passed=better,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"log_loss_difference": str(difference)},
                )
            ],
        )

    return candidate_model


def _add_references(result: TrainingResult, table: pl.DataFrame, *, stretch_days: int) -> None:
    """Put into the bundle what later drift is measured against, and into the metrics the drift between its own rows."""
    split = result.plan.split_names(pl.col("created_time"))
    rows = table.filter(pl.col("y").is_not_null()).with_columns(split)
    train_rows, test_rows = (rows.filter(pl.col("split") == name) for name in ("train", "test"))
    columns = main_columns(result.importance)
    reference = reference_of(train_rows, columns, stretch_days=stretch_days)
    result.metrics["psi_train_test"] = {row["column"]: row for row in drift(reference, test_rows)}
    # The score's reference is what the model says about rows it was not fitted on.
    test_scores = test_rows.select("day", pl.Series(SCORE, result.bundle.predict(test_rows), dtype=pl.Float64))
    result.bundle.metadata["drift_reference"] = {
        **reference,
        **reference_of(test_scores, [SCORE], stretch_days=stretch_days),
    }


def _register(deployment: Deployment, result: TrainingResult, origin: date) -> ModelHandle:
    context = {"origin": origin.isoformat(), "configuration": deployment.config.model_dump(mode="json")}
    path, _ = save_candidate(result, home=deployment.home, name=deployment.name, context=context)
    evidence = CandidateEvidence.load(path.parent / "evidence")
    handle = ModelRegistry(deployment.home).register(path, name=deployment.name, evidence=evidence)
    write_handle(handle, deployment.home.models(deployment.name) / origin.isoformat() / "candidate.json")
    return handle


def _metrics_table(metrics: dict[str, Any], *, timezone: str) -> str:
    names = ("pr_auc", "roc_auc", "brier", "log_loss", "lift_at_10pct", "capture_at_10pct", "calibration_mae")

    def shown(figure: dict[str, Any]) -> str:
        if figure["value"] is None:
            return "not available"
        interval = f" [{figure['low']:.3f}, {figure['high']:.3f}]" if figure["low"] is not None else ""
        return f"{figure['value']:.4f}{interval}"

    models = metrics["models"]
    lines = ["| | " + " | ".join(models) + " |", "|---|" + "---|" * len(models)]
    lines += [f"| {name} | " + " | ".join(shown(models[model][name]) for model in models) + " |" for name in names]
    test = metrics["test"]
    days = day_span(test["from"], test["until"], timezone=timezone)
    lines.append(
        f"\n{test['rows']} test rows, {test['positives']} positive, {days}; the intervals resample {test['resampled']}"
    )
    return "\n".join(lines)


def _champion_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("champion", group="registry", kinds={"mlflow"}, deps={"candidate_model": None}),
        description="The model that scores. Each materialisation is one entry of the audit log: promoted or kept, "
        "from which version to which, why, on what evidence.",
    )
    def champion(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "comparing the candidate with the champion on the same later rows"):
            registry = ModelRegistry(deployment.home)
            candidate = _candidate(deployment, context.run.tags.get(PARTITION_TAG))
            current = registry.champion(deployment.name)
            verdict = _judge(deployment, candidate, current)
            if verdict.promoted:
                registry.set_champion(candidate)
            scoring = candidate if verdict.promoted else current
            assert scoring is not None  # without a champion every candidate is promoted
            deployment.lake.write_json("champion", {"version": scoring.version, **verdict.as_dict()})
        return dg.MaterializeResult(
            metadata={
                "decision": "promoted" if verdict.promoted else "kept",
                "reason": verdict.reason,
                "from_version": current.version if current else "none",
                "to_version": scoring.version,
                "evidence": verdict.as_dict(),
                "who": context.run.tags.get("dagster/schedule_name") or context.run.tags.get("user", "run by hand"),
                "run_id": context.run.run_id,
            },
            data_version=dg.DataVersion(scoring.sha256),
        )

    return champion


def _candidate(deployment: Deployment, origin: str | None) -> ModelHandle:
    folder = deployment.home.models(deployment.name)
    origins = [origin] if origin else sorted(path.parent.name for path in folder.glob("*/candidate.json"))
    if not origins or not (folder / origins[-1] / "candidate.json").is_file():
        raise ScoringRefusedError(f"{deployment.name}: there is no candidate model to promote. Run 'elv train' first.")
    return read_handle(folder / origins[-1] / "candidate.json")


def _judge(deployment: Deployment, candidate: ModelHandle, current: ModelHandle | None) -> Promotion:
    early = without_comparison(
        candidate_origin=candidate.origin,
        champion_origin=current.origin if current else None,
        same_version=current is not None and current.version == candidate.version,
        timezone=deployment.config.timezone,
    )
    if early is not None or current is None:
        return early or Promotion(promoted=True, reason="first model")
    origin = candidate.origin_day(deployment.config.zone)
    table = deployment.lake.read_frame(f"training_table/{origin}")
    if table is None:
        raise TrainingRefusedError(f"training_table of {origin} is gone; materialise it again before promoting.")
    test = candidate.evidence().scored.filter(pl.col("split") == "test").select("lead_id", "y", "p")
    rows = test.join(table.drop("y"), on="lead_id", how="inner", validate="1:1").sort("created_time", "lead_id")
    try:
        model = load_model(current)
        model.require_compatible(
            outcome_window_days=deployment.config.label_window_days,
            feature_lag_days=deployment.config.feature_lag_days,
            target=deployment.config.label_column,
            timezone=deployment.config.timezone,
        )
        model.check_columns(rows)
    except ScoringRefusedError as error:
        why = str(error).splitlines()[0]
        return Promotion(promoted=True, reason=f"the champion cannot score the present features: {why}")
    # On rows that it learned from the champion would look better than it is.
    role = SplitPlan.from_dict(model.metadata["split"]).split_names(pl.col("created_time"))
    rows = rows.filter(~role.is_in(["train", "calibration"]))
    return compare(
        rows["y"].cast(pl.Int8).to_numpy(),
        candidate=rows["p"].to_numpy(),
        champion=model.predict(rows),
        clusters=day_clusters(rows["created_time"], timezone=deployment.config.timezone),
        seed=deployment.config.model.seed,
    )
