"""The facts of one run, gathered from the lake and the model's evidence into what bundles and reports are made of.

Belongs here: reading and arranging. Does not belong here: computing any of the facts, or writing files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.decisions.verdict import plain_verdict
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.monitoring.alert_rules_inputs import held_alerts
from elv_pipeline.monitoring.alerts import alerts
from elv_pipeline.orchestration.assets.boards import BoardRows
from elv_pipeline.orchestration.assets.tables import label_summary
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import held_record, incomplete_days
from elv_pipeline.orchestration.models_in_use import ModelRows
from elv_pipeline.publishing.manifest import RunFacts, manifest
from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.registry.candidate_evidence import CandidateEvidence
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.publishing.run_bundle import BundleInputs, folder_of
from elv_pipeline.synthetic.truth import compare_with_truth, ranges_against_truth

LabelSummary = tuple[dict[str, int], pl.DataFrame]
"""Label counts, and those by week."""


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """What a run scored and with which model.

    Attributes:
        run_id: the Dagster run.
        kind: ``train``, ``score`` or ``batch``.
        as_of: newest day that the run speaks of.
        handle: the model; that of the newest rows where several models scored them.
        model: the loaded model.
        predictions: scored rows, ranked among each other, with ``day``.
        board_rows: rows that the leaderboards count (they may reach further back than the run).
        board_days: the scored days that the boards cover, those without leads included: they cost money, too; empty
            for the days of ``board_rows``.
        drift: PSI results.
        notes: further alerts.
        joined: the joined leads of a batch; None where the lake's are meant.
        further: rows of ``predictions`` that other models scored, with these.
    """

    run_id: str
    kind: str
    as_of: date
    handle: ModelHandle
    model: ModelBundle
    predictions: pl.DataFrame
    board_rows: pl.DataFrame
    drift: Sequence[dict[str, Any]]
    board_days: Sequence[date] = ()
    notes: Sequence[dict[str, str]] = ()
    joined: pl.DataFrame | None = None
    further: Sequence[ModelRows] = ()


def bundle_inputs(deployment: Deployment, run: ScoredRun, *, truth_path: str) -> BundleInputs:
    """Everything that the bundle of a run is written from."""
    evidence = run.handle.evidence()
    for part in run.further:
        part.handle.evidence()  # the bundle copies it; where it is missing this says so before anything is written
    profile = deployment.lake.read_json("data_profile") or {}
    labels = label_summary(deployment)
    truth = _truth(deployment, run.predictions, truth_path)
    content = _content(deployment, run, evidence=evidence, profile=profile, labels=labels, truth=truth)
    verdict = plain_verdict(
        evidence.metrics, validation=content.validation, alerts=content.warnings(), words=deployment.words
    )
    return BundleInputs(
        content=replace(content, manifest={**content.manifest, "verdict": verdict.as_dict()}),
        config=deployment.config,
        handle=run.handle,
        profile=profile,
        label_counts=labels[0] if labels else None,
        further=[part.handle for part in run.further],
    )


def _content(
    deployment: Deployment,
    run: ScoredRun,
    *,
    evidence: CandidateEvidence,
    profile: dict[str, Any],
    labels: LabelSummary | None,
    truth: dict[str, Any] | None,
) -> ReportContent:
    """What the report shows; its manifest has no verdict yet, which judges the warnings of this content."""
    joins = deployment.join_summary(_joined(deployment, run))
    boards = _boards(deployment, run)
    missing = [level for level, board in boards.items() if board is None]
    raised = [
        *run.notes,
        *alerts(
            metrics=evidence.metrics,
            drift=run.drift,
            predictions=run.predictions,
            further=_about_inputs(deployment, run),
            currency=deployment.config.currency,
            words=deployment.words,
        ),
    ]
    document = _manifest(deployment, run, metrics=evidence.metrics, joins=joins, labels=labels, raised=raised)
    return ReportContent(
        manifest={**document, "models": _models(run), "row_counts": _row_counts(deployment), "truth": truth},
        predictions=run.predictions.drop("day"),
        metrics=evidence.metrics,
        calibration_bins=evidence.calibration_bins,
        gains=evidence.gains,
        campaign_leaderboard=boards.pop("campaign", None),
        adset_leaderboard=boards.pop("adset", None),
        further_leaderboards=boards,
        absent=absences(deployment, kind=run.kind, boards=missing, has_profile=bool(profile)),
        findings=tuple(profile.get("findings", ())),
        alerts=tuple(raised),
        label_counts_by_week=labels[1] if labels else None,
        join_statistics=joins,
        drift=tuple(run.drift),
        importance=evidence.importance,
        reliability_curve=evidence.reliability_curve,
        segments=evidence.segments,
        capture_at_k=evidence.capture_at_k,
        grades=evidence.grades,
        insights=evidence.insights,
        factors=evidence.factors,
        partial_dependence=evidence.partial_dependence,
        validation=_validation(deployment, run.handle),
        overlap=deployment.lake.read_json("challenger_report") if run.kind == "score" else None,
        features=_definitions(deployment, run.model),
        truth=truth,
    )


def _about_inputs(deployment: Deployment, run: ScoredRun) -> list[Alert]:
    """Days that are held, and days of the run that were scored although something was missing."""
    if run.kind != "score":
        return []
    days = set(run.predictions["day"].unique().to_list())
    return held_alerts(held_record(deployment), scored_incomplete=sorted(days & set(incomplete_days(deployment))))


def _boards(deployment: Deployment, run: ScoredRun) -> dict[str, pl.DataFrame | None]:
    """The boards by level."""
    days = list(run.board_days) or sorted(run.board_rows["day"].unique().to_list())
    rows = BoardRows.read(
        deployment,
        run.board_rows,
        days=days,
        with_spend=run.kind != "batch",
        judged=run.predictions if run.kind == "train" else None,
    )
    return {spec.level: rows.board(deployment, days, spec=spec, model=run.model) for spec in deployment.boards.values()}


def _manifest(
    deployment: Deployment,
    run: ScoredRun,
    *,
    metrics: dict[str, Any],
    joins: dict[str, Any],
    labels: LabelSummary | None,
    raised: list[dict[str, Any]],
) -> dict[str, Any]:
    return manifest(
        RunFacts(
            run_id=run.run_id,
            kind=run.kind,
            started_at=datetime.now(UTC),
            as_of_date=run.as_of.isoformat(),
            observed_until=deployment.observed_until().isoformat(),
        ),
        config=deployment.config,
        handle=run.handle,
        model=run.model,
        metrics=metrics,
        predictions=run.predictions,
        join_statistics=joins,
        label_counts=labels[0] if labels else None,
        alerts=raised,
    )


def _models(run: ScoredRun) -> list[dict[str, Any]]:
    """Each model that scored rows of the run: how many, and where in the bundle it lies; that of ``handle`` first."""
    further = [(part.handle, part.rows.height, folder_of(part.handle)) for part in run.further]
    counted = [(run.handle, run.predictions.height - sum(rows for _, rows, _ in further), "."), *further]
    return [
        {"version": handle.version, "sha256": handle.sha256, "origin": handle.origin, "rows": rows, "folder": folder}
        for handle, rows, folder in counted
    ]


def _validation(deployment: Deployment, handle: ModelHandle) -> dict[str, Any] | None:
    """The judged gates of a model; None where it was trained elsewhere or another version was judged since."""
    document: dict[str, Any] | None = deployment.lake.read_json(
        f"model_validation/{handle.origin_day(deployment.config.zone)}"
    )
    return document if document and document["candidate_sha256"] == handle.sha256 else None


def _joined(deployment: Deployment, run: ScoredRun) -> pl.DataFrame:
    """The joined leads that the run is about: the batch's own, else those of the days that reports look at."""
    if run.joined is not None:
        return run.joined
    return deployment.scan("joined_leads", first=deployment.summary_start(run.as_of), last=date.max).collect()


def absences(deployment: Deployment, *, kind: str, boards: Sequence[str], has_profile: bool) -> tuple[str, ...]:
    """What the outputs do not contain and why, in sentences for people; ``boards`` are the levels that have none."""
    words, found = deployment.words, deployment.absences()
    for level in boards:
        noun = words.level_named(level).singular
        found.append(f"No scored {words.row} carries an {noun} id: there is no {noun.replace(' ', '-')} leaderboard.")
    if kind == "batch":
        found.append("A batch holds only a part of its days' leads: spend and value per spend are left out.")
    if not has_profile:
        found.append("The exports were not profiled (data_profile, or 'elv validate'): findings about them are absent.")
    return tuple(found)


def _row_counts(deployment: Deployment) -> dict[str, int]:
    return deployment.source_rows()


def _definitions(deployment: Deployment, model: ModelBundle) -> tuple[dict[str, Any], ...]:
    columns = deployment.problem.feature_columns(deployment.data(), lag_days=int(model.metadata["feature_lag_days"]))
    used = set(model.schema.names)
    return tuple(
        {**asdict(column), "sources": [".".join(source) for source in column.sources]}
        for column in columns
        if column.name in used
    )


def _truth(deployment: Deployment, predictions: pl.DataFrame, truth_path: str) -> dict[str, Any] | None:
    if not truth_path:
        return None
    # Leads the model was fitted on would flatter it.
    unseen = predictions.filter(~pl.col("split").is_in(["train", "calibration"]))
    known = pl.read_parquet(Path(truth_path))
    compared = compare_with_truth(unseen, known, probability=deployment.config.probability_column)
    return {
        **{key: value for key, value in compared.items() if key not in ("predicted", "perfect")},
        "model": compared["predicted"],
        "perfect": compared["perfect"],
        "ranges": ranges_against_truth(unseen, known),
    }
