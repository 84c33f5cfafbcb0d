"""The assets that watch: what became of what was promised, the monitoring page, and the telling of alerts.

Belongs here: the asset functions. Does not belong here: gathering (``watching.py``), measuring (``monitoring/``),
drawing or sending (``publishing/``).
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.outputs import DRIFT, PERFORMANCE
from elv_pipeline.errors import ElvError, ScoringRefusedError
from elv_pipeline.home import write_atomically
from elv_pipeline.monitoring.alert import Alert, documents
from elv_pipeline.monitoring.alert_rules_scoring import weak_model
from elv_pipeline.monitoring.alert_state import AlertChanges, read_state
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import held_record
from elv_pipeline.orchestration.failed_runs import failed_run_alerts
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.orchestration.watching import (
    WATCHED,
    Watched,
    alerts_of,
    cohort_prevalence,
    day_table,
    drift_history,
    measure,
    model_rows,
    newest_writes,
    table_rows,
)
from elv_pipeline.publishing.alerting.channels import Delivery
from elv_pipeline.publishing.alerting.telling import Teller
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent
from elv_pipeline.publishing.pages.monitoring.page import monitoring_metadata, render_monitoring
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry

_LOG = logging.getLogger(__name__)
MEASURED = "monitoring"
"""Document of the lake: what the newest watch found."""
_SHOWN_DAYS = 28
_AUDIT_ENTRIES = 20
_PATIENCE_SECONDS, _SENSOR_PATIENCE_SECONDS = 60.0, 20.0
"""How long a telling waits for another one. Dagster ends a sensor's look after 60 seconds."""


class WatchConfig(dg.Config):
    """As of which day is watched.

    Attributes:
        as_of: newest local day that is looked at (ISO 8601); empty for the newest scored one.
        now: the present moment (ISO 8601); empty for the clock's. Only a rehearsal of past days gives one.
    """

    as_of: str = ""
    now: str = ""

    @property
    def moment(self) -> datetime:
        """The present moment, UTC."""
        return datetime.fromisoformat(self.now).astimezone(UTC) if self.now else datetime.now(UTC)


def watching_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The watch of a configuration, and the alerts that are told."""
    return [_monitoring_asset(deployment, parts), _alerts_asset(deployment, parts)]


def _monitoring_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    nouns = ("predictions", "features", "matured_labels", "drift", "lead_scores", "champion", "day_completeness")

    @asset(
        **parts.common("monitoring", group="watching", kinds={"html"}, deps=dict.fromkeys(nouns)),
        description="What became of what was promised: drift, estimated and realised performance by weekly cohort, "
        "calibration, freshness; as a page and as a check. Nothing recorded after the watched day is seen.",
        check_specs=[
            dg.AssetCheckSpec(
                "promises_kept",
                asset=parts.key("monitoring"),
                description="Realised performance is what the scores promised, beyond chance.",
            )
        ],
    )
    def monitoring(context: dg.AssetExecutionContext, config: WatchConfig) -> dg.MaterializeResult:
        as_of, handle = _as_of(deployment, config), _champion(deployment)
        with narrated(context, f"comparing promises with what came true by {as_of}"):
            watched = measure(deployment, as_of=as_of, handle=handle)
            _check(watched)
            found = [
                *alerts_of(deployment, watched, now=config.moment),
                *weak_model(handle.evidence().metrics, words=deployment.words),
                *failed_run_alerts(context.instance, deployment.name, asking=context.run.job_name),
            ]
            _remember(deployment, watched, found, handle=handle)
            content = page_content(
                deployment, watched, alerts=documents(found), audit=_audit(context, parts), now=config.moment
            )
            page = write_atomically(deployment.home.monitoring_page(deployment.name), render_monitoring(content))
        reconciled = watched.reconciled or {}
        return dg.MaterializeResult(
            metadata={
                **{name: dg.MetadataValue.md(text) for name, text in monitoring_metadata(content).items()},
                "page": dg.MetadataValue.url(page.as_uri()),
                "as_of": str(as_of),
                "estimates": str(reconciled.get("sentence", "No outcomes to judge the scores by.")),
                "drifted": [f"{row['kind']}: {row['column']}" for row in watched.drift if row["drifted"]],
            },
            check_results=[_kept(reconciled)],
        )

    return monitoring


def _alerts_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("alerts", group="watching", kinds={"json"}, deps={"monitoring": None}),
        description="What is open, and what of it is new, worse or settled since the last time; that is sent to the "
        "configured channels. Quiet when nothing has changed, and when an earlier day is watched again.",
        check_specs=[
            dg.AssetCheckSpec("nothing_critical", asset=parts.key("alerts"), description="No critical alert is open.")
        ],
    )
    def alerts(context: dg.AssetExecutionContext, config: WatchConfig) -> dg.MaterializeResult:
        with narrated(context, "telling what has changed"):
            found = list((deployment.lake.read_json(MEASURED) or {}).get("alerts", []))
            changes, deliveries = AlertChanges(), list[Delivery]()
            if not _looks_back(deployment, config):
                changes, deliveries = tell(deployment, found, run_id=context.run.run_id, now=config.moment)
        critical = [alert for alert in found if alert["severity"] == "critical"]
        return dg.MaterializeResult(
            metadata={
                "open": [f"{alert['severity']}: {alert['message']}" for alert in found],
                "new": len(changes.new),
                "worse": len(changes.worse),
                "resolved": len(changes.resolved),
                "sent": sum(delivery.outcome == "delivered" for delivery in deliveries),
                "waiting": sum(delivery.outcome == "undelivered" for delivery in deliveries),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="nothing_critical",
                    passed=not critical,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description=" ".join(alert["message"] for alert in critical) or None,
                )
            ],
        )

    return alerts


def tell(
    deployment: Deployment,
    found: Sequence[Mapping[str, Any]],
    *,
    run_id: str,
    now: datetime,
    judged: Collection[str] | None = None,
) -> tuple[AlertChanges, list[Delivery]]:
    """Remember the open alerts and send what changed; each change is told once, wherever a process dies in between.

    Args:
        deployment: the configuration.
        found: the alerts that are open now.
        run_id: the run that found them.
        now: the present moment, UTC.
        judged: codes about which the caller can speak; None for all.

    Raises:
        ElvError: a watch could not remember them: nobody would hear of them before the next one. Callers that look at
            a few codes look again soon, and only log it.
    """
    teller = Teller(
        configuration=deployment.name,
        place=deployment.home.alert_state(deployment.name),
        channels=deployment.config.alerts.channels,
        patience_seconds=_PATIENCE_SECONDS if judged is None else _SENSOR_PATIENCE_SECONDS,
    )
    try:
        changes = teller.remember(found, run_id=run_id, now=now, judged=judged)
    except ElvError as error:
        if judged is None:
            raise
        _LOG.warning("%s", error)
        return AlertChanges(), []
    return changes, teller.send(environment=os.environ, now=now)


def open_alerts(deployment: Deployment) -> list[dict[str, Any]]:
    """The alerts that are open, as last seen; one that was not found again is not shown while it is remembered."""
    state = read_state(deployment.home.alert_state(deployment.name))
    return [entry["alert"] for entry in state["open"].values() if "absent_since" not in entry]


def page_content(
    deployment: Deployment,
    watched: Watched,
    *,
    alerts: Sequence[Mapping[str, Any]],
    audit: Sequence[Mapping[str, Any]],
    now: datetime,
) -> MonitoringContent:
    """The facts of the monitoring page."""
    config, known = deployment.config, read_state(deployment.home.alert_state(deployment.name))["open"]
    since = {
        (entry["alert"]["code"], entry["alert"].get("subject", "")): entry["first_seen"] for entry in known.values()
    }
    return MonitoringContent(
        name=deployment.name,
        words=deployment.words,
        org_id=config.org_id,
        currency=config.currency,
        timezone=config.timezone,
        as_of=min(now, deployment.midnight(watched.as_of + timedelta(days=1))),
        days=day_table(deployment, as_of=watched.as_of),
        rows=table_rows(deployment, as_of=watched.as_of),
        drift=drift_history(deployment, first=watched.as_of - timedelta(days=_SHOWN_DAYS - 1), last=watched.as_of),
        performance=watched.performance,
        prevalence=cohort_prevalence(watched),
        reconciled=watched.reconciled,
        calibration=watched.calibration,
        models=model_rows(deployment),
        audit=audit,
        alerts=[
            {**alert, "since": since.get((alert["code"], alert.get("subject", "")), now.isoformat())}
            for alert in alerts
        ],
        held=held_record(deployment),
        writes=_known_writes(deployment),
        freshness=watched.freshness,
    )


def _known_writes(deployment: Deployment) -> list[dict[str, Any]] | None:
    """The ledger of scores, or None where it cannot be asked: what was watched must not be lost for a table."""
    try:
        return newest_writes(deployment)
    except ElvError as error:
        _LOG.warning("%s", error)
        return None


def _as_of(deployment: Deployment, config: WatchConfig) -> date:
    if config.as_of:
        return date.fromisoformat(config.as_of)
    scored = deployment.lake.days("predictions")
    if not scored:
        raise ScoringRefusedError(f"{deployment.name}: nothing was scored yet, so there is nothing to watch.")
    return scored[-1]


def _looks_back(deployment: Deployment, config: WatchConfig) -> bool:
    """Whether newer days were scored than the one that is watched: what it finds is no news, and settles nothing."""
    scored = deployment.lake.days("predictions")
    return bool(config.as_of and scored) and date.fromisoformat(config.as_of) < scored[-1]


def _champion(deployment: Deployment) -> ModelHandle:
    champion = ModelRegistry(deployment.home).champion(deployment.name)
    if champion is None:
        raise ScoringRefusedError(f"{deployment.name}: there is no champion to watch yet. Run 'elv train' first.")
    return champion


def _check(watched: Watched) -> None:
    """Contracts of what was measured, before any of it is shown."""
    keys = list(DRIFT.schema)
    rows = [{key: row.get(key) for key in keys} for row in watched.drift]
    DRIFT.validate(pl.DataFrame(rows, schema=DRIFT.schema), place=f"drift of {watched.as_of}")
    if watched.performance is not None:
        PERFORMANCE.validate(watched.performance, place=f"performance as of {watched.as_of}")


def _remember(deployment: Deployment, watched: Watched, found: Sequence[Alert], *, handle: ModelHandle) -> None:
    document = {
        "as_of": str(watched.as_of),
        "model_version": handle.version,
        "drift": watched.drift,
        "reconciled": watched.reconciled,
        "calibration": watched.calibration,
        "alerts": documents(found),
    }
    deployment.lake.write_json(MEASURED, document)
    rows = [{key: row.get(key) for key in DRIFT.schema} for row in watched.drift]
    frame = pl.DataFrame(rows, schema=DRIFT.schema).with_columns(day=pl.lit(watched.as_of))
    deployment.lake.write_days(WATCHED, frame, days=[watched.as_of])
    if watched.performance is not None:
        deployment.lake.write_frame("performance", watched.performance)


def _audit(context: dg.AssetExecutionContext, parts: AssetParts) -> list[dict[str, Any]]:
    """The newest entries of the champion's log, oldest first; who decided stays in the log."""
    records = context.instance.fetch_materializations(parts.key("champion"), limit=_AUDIT_ENTRIES).records
    wanted = ("decision", "reason", "from_version", "to_version", "candidate_version")
    found = []
    for record in records:
        materialization = record.asset_materialization
        if materialization is None:
            continue
        values = {name: entry.value for name, entry in materialization.metadata.items() if name in wanted}
        at = datetime.fromtimestamp(record.timestamp, UTC).isoformat()
        found.append({"at": at, **values})
    return list(reversed(found))


def _kept(reconciled: Mapping[str, Any]) -> dg.AssetCheckResult:
    verdict = str(reconciled.get("verdict", "too few"))
    return dg.AssetCheckResult(
        check_name="promises_kept",
        passed=verdict in ("holds", "too few"),
        severity=dg.AssetCheckSeverity.WARN,
        description=str(reconciled["sentence"]) if reconciled else None,
        metadata={"verdict": verdict},
    )
