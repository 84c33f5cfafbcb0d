"""Publishing scores: what must hold before a score leaves, writing it, and taking it back.

Belongs here: the order of rollout, environment, approval and write, for the asset and the commands alike. Does not
belong here: the rules (``decisions/rollout.py``, ``publishing/scores/targets.py``) or SQL
(``publishing/scores/writing.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import polars as pl
from sqlalchemy import Engine

from elv_pipeline.config_file import load_targets
from elv_pipeline.databases.audit import Access, AccessLog
from elv_pipeline.databases.connections import Connection, describe, open_engine
from elv_pipeline.databases.retries import with_retries
from elv_pipeline.databases.scripts import migrate
from elv_pipeline.decisions.rollout import in_rollout
from elv_pipeline.errors import ConfigError, ElvError, PromotionRefusedError, ScoringRefusedError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.models_in_use import models_behind, placed_by_bundle
from elv_pipeline.publishing.registry.model_approvals import ModelApproval, approve_model, is_approved
from elv_pipeline.publishing.registry.model_handle import model_from_file
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.publishing.scores.files import Split, rows_from_bundle
from elv_pipeline.publishing.scores.rollback import rollback_days, rollback_run
from elv_pipeline.publishing.scores.target_row import note_target, target_environment
from elv_pipeline.publishing.scores.targets import (
    Approval,
    approve_target,
    is_embedded,
    refuse_foreign_target,
    require_approved,
)
from elv_pipeline.publishing.scores.undo import RollbackCounts
from elv_pipeline.publishing.scores.upsert import UpsertCounts
from elv_pipeline.publishing.scores.writing import upsert_scores
from elv_pipeline.settings import PipelineConfig


def scores_connection(config: PipelineConfig, home: Home) -> Connection:
    """Where scores of a configuration go: the configured database, else a SQLite file of the home."""
    name = "databases.scores"
    if config.databases.scores is not None:
        return Connection.of(config.databases.scores, name=name, read_only=False)
    return Connection(name=name, url=home.scores_url)


def takes_part(config: PipelineConfig) -> bool:
    """Whether the organisation is inside the share whose scores are written."""
    return in_rollout(config.org_id, config.rollout.share, salt=config.problem)


def require_standing(config: PipelineConfig, home: Home, models: Mapping[str, str]) -> None:
    """Refuse in ``prod`` the scores of a model that never was the champion and that no person approved.

    Args:
        config: says which environment it is, and for whom.
        home: the state folder.
        models: versions of the models, by the SHA-256 of their files.

    Raises:
        PromotionRefusedError: naming the model and the ways out.
    """
    if config.environment != "prod":
        return
    registry = ModelRegistry(home)
    for sha256, version in models.items():
        if registry.has_standing(config.name, sha256):
            continue
        if not is_approved(home, sha256, name=config.name, environment=config.environment):
            raise PromotionRefusedError(
                f"{config.name}: model version {version} (SHA-256 {sha256[:12]}…) never was the champion of this "
                f"configuration, or was rolled back, and environment is prod: its scores are written only after a "
                f"person approved it. Nothing was written. Look at its scores with --no-persist-scores; then elv "
                f"promote, or: elv approve-model --config <file> --model <its run or model.joblib> --who <name> "
                f"--reason <why>"
            )


def allow_model(deployment: Deployment, model: Path, *, who: str, reason: str) -> ModelApproval:
    """Record that a person allows a model to write scores here without being the champion."""
    config = deployment.config
    return approve_model(
        deployment.home,
        model_from_file(model),
        name=config.name,
        environment=config.environment,
        who=who,
        reason=reason,
        now=datetime.now(UTC),
    )


def write(
    config: PipelineConfig,
    home: Home,
    rows: pl.DataFrame,
    *,
    now: datetime,
    dry_run: bool = False,
    who: str = "",
    models: Mapping[str, str] | None = None,
) -> UpsertCounts:
    """Write rows of ``dbo.lead_scores`` where they may be written. Transactional and idempotent.

    Args:
        config: says where, in which environment, and how patiently.
        home: the state folder.
        rows: of ``score_rows``.
        now: moment of the write, UTC.
        dry_run: count exactly and write nothing.
        who: for the ledger; the account if empty.
        models: versions of the models behind the rows by SHA-256; None: of the files that the rows name.

    Raises:
        PromotionRefusedError: in ``prod``, a model behind the rows was neither champion nor approved.
        TargetRefusedError: nobody approved the database, or it belongs to another environment.
        ContractError: a row cannot be stored.
        SourceError: the database cannot be reached or refuses.
    """
    begun = monotonic()
    if config.environment == "prod" and not dry_run:
        require_standing(config, home, models_behind(home, rows) if models is None else models)
    with _target(config, home, now=now, dry_run=dry_run, purpose="write scores", rows=rows.height) as engine:
        return upsert_scores(
            engine,
            rows,
            dry_run=dry_run,
            environment=config.environment,
            who=who or None,
            attempts=scores_connection(config, home).attempts,
            clock=lambda: now + timedelta(seconds=monotonic() - begun),
        )


def approve(deployment: Deployment, *, who: str, reason: str) -> Approval:
    """Record that a person allows scores to be written to the configured database."""
    config = deployment.config
    engine = open_engine(scores_connection(config, deployment.home), purpose="approve")
    try:
        target = describe(engine)
    finally:
        engine.dispose()
    if is_embedded(target, deployment.home):
        raise ElvError(
            f"{config.name}: scores go to the SQLite file of this home, which needs no approval. Set databases.scores "
            f"to the database that people read, then approve that."
        )
    return approve_target(
        deployment.home, target, environment=config.environment, who=who, reason=reason, now=datetime.now(UTC)
    )


def write_bundle(
    home: Home,
    *,
    predictions_csv: Path,
    metrics_json: Path,
    split: Split,
    config_path: Path | None,
    dry_run: bool,
    who: str,
) -> UpsertCounts:
    """Write the scores of a run bundle, as its run would have; a newer score of the same enrollment stays.

    Raises:
        ConfigError: the configuration that the bundle names is not known to this home.
        ContractError: a file is not what the run wrote, no lead is in the split, or the bundle does not hold the model
            of a row.
    """
    found = rows_from_bundle(predictions_csv, metrics_json, split)
    config = home.placed(_of_run(config_path, found.name)) if config_path else _configuration(home, found.name)
    if (config.name, config.org_id) != (found.name, found.org_id):
        raise ConfigError(
            f"the bundle is of {found.name} and organisation {found.org_id}, the configuration of {config.name} and "
            f"{config.org_id}. Give the configuration of the run, or none."
        )
    if not dry_run:
        _refuse_withheld(config, predictions_csv.parent / "metadata.json")
    placed, models = placed_by_bundle(home, predictions_csv.parent, found.rows)
    rows = _not_outdated(deployment_of(config, home), placed)
    return write(config, home, rows, now=datetime.now(UTC), dry_run=dry_run, who=who, models=models)


def roll_back(
    deployment: Deployment, *, run_id: str, day: date | None, again: bool, reason: str, who: str
) -> RollbackCounts:
    """Return scores to what they were before a run, or those of a day to what the run before told.

    Raises:
        ContractError: there is nothing to take back; nothing was changed.
    """
    config, now = deployment.config, datetime.now(UTC)
    common: dict[str, Any] = {
        "org_id": config.org_id,
        "label_col": config.label_column,
        "reason": reason or None,
        "environment": config.environment,
        "who": who or None,
        "attempts": scores_connection(config, deployment.home).attempts,
    }
    with _target(config, deployment.home, now=now, dry_run=False, purpose="roll back scores", rows=None) as engine:
        if day is not None:
            return rollback_days(engine, day, day, timezone=config.timezone, again=again, **common)
        return rollback_run(engine, run_id, **common)


def migrate_scores(config: PipelineConfig, home: Home, *, url_variable: str = "") -> tuple[str, list[str]]:
    """Create the tables of scores or bring them up to date, as their owner. Idempotent; writes no score.

    Args:
        config: names the database of scores.
        home: the state folder.
        url_variable: environment variable with the owner's address of the same database; empty: the writer's own.

    Returns:
        Where the tables are, without secrets, and the migrations that were applied.

    Raises:
        ConfigError: the variable is not set, or holds no address.
        SourceError: the database cannot be reached or refuses.
    """
    usual = scores_connection(config, home)
    connection = replace(usual, name="scores owner", url_variable=url_variable, url=None) if url_variable else usual
    engine = open_engine(connection, purpose="migrate scores")

    def work() -> list[str]:
        with engine.connect() as session:
            return migrate(session)

    try:
        place = describe(engine)
        done = with_retries(work, dialect=engine.dialect.name, attempts=connection.attempts, where=place)
    finally:
        engine.dispose()
    return place, done


def _refuse_withheld(config: PipelineConfig, manifest: Path) -> None:
    """Refuse what the run itself would not have written.

    Raises:
        ScoringRefusedError: a critical alert stands in the bundle, or the organisation does not take part yet.
    """
    alerts = json.loads(manifest.read_text(encoding="utf-8")).get("alerts", [])
    critical = [str(alert["message"]) for alert in alerts if alert["severity"] == "critical"]
    if critical:
        raise ScoringRefusedError(
            f"{' '.join(critical)} Nothing was written; score the days again once that is settled."
        )
    if not takes_part(config):
        raise ScoringRefusedError(
            f"{config.org_id} is not yet inside the {config.rollout.share:.0%} of the organisations whose scores are "
            f"written (rollout.share). Nothing was written; raise the share, or look with --dry-run."
        )


def _not_outdated(deployment: Deployment, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of which the lake has no newer score of the same entity; all of them where each row is an entity."""
    entity = deployment.words.entity_id
    days = deployment.lake.days("predictions")
    if entity is None or not days:
        return rows
    told = deployment.scan("predictions", first=days[0], last=days[-1]).select(
        pl.col(entity).str.strip_chars_end().alias("enrollment_id"),
        pl.col("created_time").dt.convert_time_zone("UTC").dt.replace_time_zone(None).alias("newest"),
    )
    newest = told.group_by("enrollment_id").agg(pl.col("newest").max()).collect()
    known = rows.join(newest, on="enrollment_id", how="left", validate="1:1", maintain_order="left")
    outdated = (pl.col("prediction_time") < pl.col("newest")).fill_null(False)
    return known.filter(~outdated).drop("newest")


def _of_run(file: Path, name: str) -> PipelineConfig:
    """The target of a configuration file whose run a bundle is of; where none is, the first, which is refused."""
    targets = load_targets(file)
    return next((config for config in targets if config.name == name), targets[0])


def _configuration(home: Home, name: str) -> PipelineConfig:
    found = next((config for config in home.registered() if config.name == name), None)
    if found is None:
        raise ConfigError(
            f"the bundle is of the configuration {name}, which {home.root} does not know. Name the file: --config."
        )
    return found


@contextmanager
def _target(
    config: PipelineConfig, home: Home, *, now: datetime, dry_run: bool, purpose: str, rows: int | None
) -> Iterator[Engine]:
    """The engine of the scores, once it may be written; every use is noted in the access log."""
    connection = scores_connection(config, home)
    engine, attempts = open_engine(connection, purpose="scores"), connection.attempts
    where, begun, outcome = describe(engine), monotonic(), "written"
    try:
        known = target_environment(engine, attempts=attempts)
        refuse_foreign_target(where, environment=config.environment, written=known)
        if not dry_run:
            approval = require_approved(home, where, environment=config.environment, now=now)
            if approval is not None and known is None:
                note_target(
                    engine,
                    environment=config.environment,
                    approved_by=approval.who,
                    approved_at=now,
                    attempts=attempts,
                )
        yield engine
        outcome = "counted" if dry_run else "written"
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        engine.dispose()
        if not is_embedded(where, home):
            AccessLog(home.access_log).record(
                Access(
                    at=now.astimezone(UTC),
                    where=where,
                    purpose=purpose,
                    outcome=outcome,
                    rows=rows,
                    seconds=round(monotonic() - begun, 3),
                )
            )
