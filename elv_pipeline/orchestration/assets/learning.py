"""Learning assets: the training table of an origin and the candidate trained on it.

Belongs here: the asset functions. Does not belong here: splits, fitting, metrics (``learning/``) or what becomes of a
candidate (``registry.py``).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.decisions.explanations import Explanations, explanations
from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.home import write_atomically
from elv_pipeline.lake import content_checksum
from elv_pipeline.learning.sparse_target import choose_window, windows_up_to
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline.monitoring.drift import drift, main_columns, reference_of
from elv_pipeline.monitoring.missing_values import missing_reference
from elv_pipeline.monitoring.prevalence import calibration
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import lineage, picture, schema_of_frame, table_metadata
from elv_pipeline.orchestration.lineage import LABEL_STATUS, carried
from elv_pipeline.orchestration.partitions import origin_key
from elv_pipeline.orchestration.resources import TrainingOrigin, narrated
from elv_pipeline.orchestration.speaking import reason_spec
from elv_pipeline.problems.feature_specs import FeatureColumn
from elv_pipeline.problems.words import Words
from elv_pipeline.publishing.pages.content import day_span
from elv_pipeline.publishing.pages.model_charts import importance_chart, lift_and_gains, reliability
from elv_pipeline.publishing.registry.candidate_evidence import CandidateEvidence, save_candidate
from elv_pipeline.publishing.registry.model_handle import ModelHandle, write_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.tables.training_table import training_table as build_training_table

REFUSED = "refused.json"
"""File of an origin's folder that says why no model was trained as of it."""
SCORE = "score"
"""Name of the score's own entry in drift references and results."""


def learning_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Training table and candidate."""
    return [
        _training_table_asset(deployment, parts),
        _candidate_asset(deployment, parts),
    ]


def learning_spec(deployment: Deployment) -> LearningSpec:
    """What to learn, from the configuration and the declared features."""
    config = deployment.config
    columns = _columns(deployment)
    return LearningSpec(
        target=config.label_column,
        outcome_window_days=deployment.label_reach_days,
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
        spend_column=_spend_column(columns),
        rule=config.proof.rule,
        accepted_leaks=config.proof.accepted_leaks,
        calibration_columns=tuple(
            column
            for column in ("campaign_id", *deployment.problem.calibration_columns)
            if column == "campaign_id" or column in {known.name for known in columns}
        ),
        segment_error_columns=tuple(spec.segment for spec in deployment.boards.values()),
        entity_columns=deployment.words.id_columns,
        cluster_column=deployment.words.entity_id,
        value_segment_columns=deployment.value_segments,
        value_per_outcome=config.value_per_qualified,
        value_model=config.model.value_model,
        segment_error_days=config.reporting.leaderboard_days,
        threads=config.model.threads,
        words=deployment.words,
        search_candidates=config.model.search_candidates,
        monotone=tuple(sorted(config.model.monotone.items())),
        learn_from_young=config.model.learn_from_young,
    )


def _spend_column(columns: list[FeatureColumn]) -> str | None:
    """Spend of a lead's campaign in the four weeks before it, where there is an ads export."""
    name = "campaign_spend_28d"
    return name if any(column.name == name for column in columns) else None


def _training_table_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    config = deployment.config
    weeks = -(-config.model.training_window_days // 7)

    @asset(
        **parts.weekly(
            "training_table",
            group="learning",
            kinds={"polars", "parquet"},
            # A training as of a later day reads days of its own week, too; in the window, these would make the table
            # of every week look outdated from its second day on.
            deps={"features": Window(-weeks, -1), "matured_labels": Window(-weeks, -1)},
        ),
        description="Features and labels as they stood at the origin: no outcome recorded at or after it, and only "
        "leads whose outcome window had passed carry a label. The origin is the start of the week, or the later day of "
        "it that the run was asked for (training_origin.as_of).",
    )
    def training_table(context: dg.AssetExecutionContext, training_origin: TrainingOrigin) -> dg.MaterializeResult:
        origin = training_origin.day(origin_key(context))
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
                "origin": str(origin),
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
    if not deployment.has_outcomes:
        raise TrainingRefusedError(
            f"{deployment.name}: paths.outcomes_path is null, so nothing is labelled and no model can be trained. "
            f"Set it to an export of outcomes, or score with a model trained elsewhere (--model)."
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
                {"logreg": "scikitlearn"}.get(deployment.config.model.model_type, "lightgbm"),
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
    def candidate_model(context: dg.AssetExecutionContext, training_origin: TrainingOrigin) -> dg.MaterializeResult:
        origin = training_origin.day(origin_key(context))
        table = deployment.lake.read_frame(f"training_table/{origin}")
        if table is None:
            raise TrainingRefusedError(f"training_table of {origin} is not materialised. Run 'elv train'.")
        with (
            narrated(context, f"training, calibrating and judging on {table.height:,} leads as of {origin}"),
            _remembering_refusal(deployment, origin, table=table),
        ):
            result, handle = _trained(deployment, table, origin=origin)
        return dg.MaterializeResult(
            metadata={
                "origin": str(origin),
                **_candidate_metadata(result, handle, timezone=deployment.config.timezone, words=deployment.words),
            },
            data_version=dg.DataVersion(handle.sha256),
            check_results=[_beats_constant(result)],
        )

    return candidate_model


def _trained(deployment: Deployment, table: pl.DataFrame, *, origin: date) -> tuple[TrainingResult, ModelHandle]:
    """Train, judge and explain the origin's model, and register it."""
    moment = deployment.midnight(origin)
    result = train(table, learning_spec(deployment), origin=moment, observation=deployment.observation(origin=moment))
    _add_references(result, table, stretch_days=deployment.config.reporting.drift_days)
    explained = _explained(deployment, result, table)
    return result, _register(deployment, result, explained, origin=origin, data_version=content_checksum(table))


def _candidate_metadata(result: TrainingResult, handle: ModelHandle, *, timezone: str, words: Words) -> dict[str, Any]:
    return {
        "model": f"{handle.name} version {handle.version}",
        "model_file": dg.MetadataValue.path(handle.path),
        "tracking_run_id": handle.tracking_run_id,
        "metrics": dg.MetadataValue.md(_metrics_table(result.metrics, timezone=timezone)),
        "calibration": picture(
            reliability(result.proof.calibration_bins, words=words), title="Calibration on the test rows"
        ),
        "lift": picture(lift_and_gains(result.proof.gains, words=words), title="Lift and gains on the test rows"),
        "importance": picture(importance_chart(result.importance, words=words), title="Permutation importance"),
        "split": result.plan.to_dict(),
        **{
            name: figure["value"]
            for name, figure in result.metrics["models"]["model"].items()
            if figure["value"] is not None
        },
    }


def _beats_constant(result: TrainingResult) -> dg.AssetCheckResult:
    difference = result.metrics["differences"]["constant"]["log_loss"]
    return dg.AssetCheckResult(
        check_name="beats_constant",
        passed=difference["high"] is not None and difference["high"] < 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"log_loss_difference": str(difference)},
    )


@contextmanager
def _remembering_refusal(deployment: Deployment, origin: date, *, table: pl.DataFrame) -> Iterator[None]:
    """Keep why an origin has no model, for the backtest; an earlier candidate of the origin stays where it is."""
    place = deployment.home.models(deployment.name) / origin.isoformat() / REFUSED
    try:
        yield
    except TrainingRefusedError as error:
        advised = TrainingRefusedError(f"{error}{_wider_window(deployment, origin, table)}")
        write_atomically(place, json.dumps({"reason": str(advised)}) + "\n")
        raise advised from error
    place.unlink(missing_ok=True)


def _wider_window(deployment: Deployment, origin: date, table: pl.DataFrame) -> str:
    """Advise a longer outcome window where outcomes are too rare within the configured one."""
    config = deployment.config
    choice = choose_window(
        table.drop("y", "label_status", "mature"),
        observation=deployment.observation(origin=deployment.midnight(origin)),
        windows=windows_up_to(
            config.label_window_days, cap_days=max(config.model.widest_window_days, config.label_window_days)
        ),
        min_positives=config.model.min_positives,
        min_rows=config.model.min_labelled_rows,
        words=deployment.words,
    )
    if not (choice.widened and choice.enough):
        return ""
    return f". {choice.sentence}"


def _add_references(result: TrainingResult, table: pl.DataFrame, *, stretch_days: int) -> None:
    """Put into the bundle what later drift is measured against, and into the metrics the drift between its own rows."""
    split = result.plan.split_names(pl.col("created_time"))
    rows = table.filter(pl.col("y").is_not_null()).with_columns(split)
    train_rows, test_rows = (rows.filter(pl.col("split") == name) for name in ("train", "test"))
    columns = main_columns(result.importance)
    reference = reference_of(train_rows, columns, stretch_days=stretch_days)
    result.metrics["psi_train_test"] = {row["column"]: row for row in drift(reference, test_rows)}
    # The score's reference is what the model says about rows it was not fitted on; the test rows alone are too few
    # weeks to show how much weeks differ by themselves.
    later = table.with_columns(split).filter(pl.col("split") != "train")
    scores = later.select("day", pl.Series(SCORE, result.bundle.predict(later), dtype=pl.Float64))
    result.bundle.metadata["drift_reference"] = {
        **reference,
        **reference_of(scores, [SCORE], stretch_days=stretch_days),
    }
    judged = test_rows.with_columns(pl.Series("p", result.bundle.predict(test_rows), dtype=pl.Float64))
    result.bundle.metadata["calibration_reference"] = calibration(judged)
    result.bundle.metadata["missing_reference"] = missing_reference(
        train_rows, result.bundle.schema.names, stretch_days=stretch_days
    )


def _explained(deployment: Deployment, result: TrainingResult, table: pl.DataFrame) -> Explanations:
    """Explain the model on its test rows, and freeze its grades with it."""
    test = table.filter(pl.col("y").is_not_null() & (result.plan.split_names(pl.col("created_time")) == "test")).sort(
        "created_time", "lead_id"
    )
    explained = explanations(
        result,
        test,
        spec=reason_spec(deployment),
        columns=_columns(deployment),
        timezone=deployment.config.timezone,
        entity=deployment.words.entity_id,
    )
    result.bundle.metadata["grades"] = explained.scale.to_dict()
    return explained


def _columns(deployment: Deployment) -> list[FeatureColumn]:
    return deployment.problem.feature_columns(deployment.data(), lag_days=deployment.config.feature_lag_days)


def _register(
    deployment: Deployment, result: TrainingResult, explained: Explanations, *, origin: date, data_version: str
) -> ModelHandle:
    context = {
        "origin": origin.isoformat(),
        "configuration": deployment.config.model_dump(mode="json"),
        "data_version": data_version,
        "features": [asdict(column) for column in _columns(deployment)],
    }
    path, _ = save_candidate(result, explained, home=deployment.home, name=deployment.name, context=context)
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
