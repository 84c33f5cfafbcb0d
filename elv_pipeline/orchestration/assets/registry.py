"""Registry assets: the validation of a candidate, and the champion with its audit log.

Belongs here: the asset functions. Does not belong here: training (``learning.py``), the gates or the decision
(``decisions/``), or MLflow (``publishing/registry/model_registry.py``).
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import dagster as dg

from elv_pipeline.decisions.gates import Gate, gate_names
from elv_pipeline.decisions.promotion import Decision, by_hand, decide, previous_champion, require_person
from elv_pipeline.decisions.readiness import validation_document
from elv_pipeline.decisions.verdict import PlainVerdict
from elv_pipeline.errors import PromotionRefusedError, ScoringRefusedError
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.judging import compared_with, judged
from elv_pipeline.orchestration.partitions import PARTITION_TAG, origin_key
from elv_pipeline.orchestration.resources import TrainingOrigin, narrated
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model, read_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry

PENDING = "pending_approval"
"""Document of the lake that names the version waiting for a person."""


class ChampionConfig(dg.Config):
    """What to do about the champion.

    Attributes:
        action: ``judge`` decides about the newest candidate (or that of the run's origin) by its gates; ``approve``
            promotes the version that waits; ``promote`` any version; ``rollback`` returns to an earlier one;
            ``challenge`` lets a version score beside the champion without being used.
        version: registry version; empty for the one that waits, or the champion before this one.
        who: name for the audit log; by default the user or schedule that started the run. In ``prod`` approve, promote
            and challenge need one.
        reason: for the audit log; needed likewise.
        despite_gates: overrule failing gates; needs a reason.
    """

    action: Literal["judge", "approve", "promote", "rollback", "challenge"] = "judge"
    version: str = ""
    who: str = ""
    reason: str = ""
    despite_gates: bool = False


def registry_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Validation and champion."""
    return [_validation_asset(deployment, parts), _champion_asset(deployment, parts)]


def _validation_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    names = gate_names(deployment.config.promotion)

    @asset(
        **parts.weekly("model_validation", group="registry", kinds={"json"}, deps={"candidate_model": None}),
        description="Every gate of the candidate: its figure with interval, its threshold, its verdict, against the "
        "baselines and the champion on the same later rows. A failing gate keeps it from being promoted.",
        check_specs=[
            dg.AssetCheckSpec(name, asset=parts.key("model_validation"), description=f"Promotion gate: {name}.")
            for name in names
        ],
    )
    def model_validation(context: dg.AssetExecutionContext, training_origin: TrainingOrigin) -> dg.MaterializeResult:
        origin = str(training_origin.day(origin_key(context)))
        with narrated(context, "judging the gates against baselines and champion"):
            registry = ModelRegistry(deployment.home)
            candidate = _candidate(deployment, origin)
            current = registry.champion(deployment.name)
            compared = compared_with(deployment, candidate, current)
            gates, verdict = judged(deployment, candidate, compared)
            document = validation_document(
                gates,
                candidate=candidate.version,
                sha256=candidate.sha256,
                champion=current.version if current else None,
                comparison=compared,
                verdict=verdict,
            )
            deployment.lake.write_json(f"model_validation/{origin}", document)
            registry.tag_validation(candidate, failed=document["failed"])
        return dg.MaterializeResult(
            metadata={
                "origin": origin,
                "candidate_version": candidate.version,
                "champion_version": document["champion_version"] or "none",
                "passed": document["passed"],
                "verdict": verdict.level,
                "gates": dg.MetadataValue.md(_gates_table(gates)),
            },
            check_results=[_check_of(gate) for gate in gates],
        )

    return model_validation


def _check_of(gate: Gate) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=gate.name,
        passed=gate.verdict != "fail",
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{gate.name}: {gate.reason}",
        metadata={
            "asks": gate.asks,
            "verdict": gate.verdict,
            **{
                name: value
                for name in ("value", "low", "high", "threshold")
                if (value := getattr(gate, name)) is not None
            },
        },
    )


def _gates_table(gates: list[Gate]) -> str:
    lines = ["| gate | verdict | asks for | figure |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {gate.name} | {gate.verdict} | {gate.asks} | {gate.reason} |" for gate in gates)])


def _champion_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common(
            "champion", group="registry", kinds={"mlflow"}, deps={"candidate_model": None, "model_validation": None}
        ),
        description="The model that scores. Each materialisation is one entry of the audit log: promoted, kept, "
        "awaiting approval, rolled back or challenges; who, from which version to which, why, on what evidence. Launch "
        "it with the action approve, promote, rollback or challenge to decide by hand.",
    )
    def champion(
        context: dg.AssetExecutionContext, config: ChampionConfig, training_origin: TrainingOrigin
    ) -> dg.MaterializeResult:
        with narrated(context, f"{config.action}: deciding which model scores"):
            registry = ModelRegistry(deployment.home)
            current = registry.champion(deployment.name)
            if config.action == "judge":
                target = _candidate(deployment, _origin_of(context, training_origin))
                decision = _judge(deployment, registry, target, current)
            else:
                target, decision = _by_person(context, config, deployment, registry, current=current)
            if decision.changes_champion:
                if current is not None and decision.decision == "rolled back":
                    registry.tag_rolled_back(current)
                registry.set_champion(target)
            elif decision.decision in ("awaiting approval", "challenges") or (
                decision.failed and not _is_older(deployment, target, registry.challenger(deployment.name))
            ):
                registry.set_challenger(target)
            _remember_pending(deployment, target, decision)
            scoring = target if decision.changes_champion else current
            entry = {
                "decision": decision.decision,
                "reason": decision.reason,
                "from_version": current.version if current else "none",
                "to_version": scoring.version if scoring else "none",
                "candidate_version": target.version,
                "candidate_origin": str(target.origin_day(deployment.config.zone)),
                "who": config.who or _who(context),
                "run_id": context.run.run_id,
            }
            deployment.lake.write_json("champion", {**entry, "failed": list(decision.failed)})
        return dg.MaterializeResult(
            metadata={**entry, "evidence": _evidence(deployment, target)},
            data_version=dg.DataVersion(scoring.sha256 if scoring else "none"),
        )

    return champion


def _origin_of(context: dg.AssetExecutionContext, training_origin: TrainingOrigin) -> str | None:
    """The origin that a run is about: that of a training of this week; None where it names none."""
    key = context.run.tags.get(PARTITION_TAG)
    return str(training_origin.day(date.fromisoformat(key))) if key else None


def _by_person(
    context: dg.AssetExecutionContext,
    config: ChampionConfig,
    deployment: Deployment,
    registry: ModelRegistry,
    *,
    current: ModelHandle | None,
) -> tuple[ModelHandle, Decision]:
    """The version that a person decides about, and the decision."""
    if config.action == "rollback":
        if current is None:
            raise PromotionRefusedError(f"{deployment.name}: rollback refused: no model scores yet. Run 'elv train'.")
        earlier = config.version or previous_champion(
            _audit_log(context, deployment),
            current=current.version,
            left=[handle.version for handle, tags in registry.versions(deployment.name) if "rolled_back" in tags],
        )
        target = _usable(deployment, registry, earlier)
        if not registry.was_champion(target):
            raise PromotionRefusedError(
                f"rollback refused: version {earlier} has never scored. 'elv promote --version {earlier}' promotes it "
                f"by its gates."
            )
        if target.version == current.version:
            raise PromotionRefusedError(f"rollback refused: version {earlier} already scores. Name an earlier one.")
        return target, Decision(decision="rolled back", reason=config.reason or "no reason given")
    require_person(config.action, environment=deployment.config.environment, who=config.who, reason=config.reason)
    version = config.version or (_pending_version(deployment) if config.action == "approve" else "")
    if not version:
        raise PromotionRefusedError(f"{config.action} refused: name a version (--version N; elv models lists them)")
    target = _usable(deployment, registry, version)
    if current is not None and current.version == target.version:
        raise PromotionRefusedError(f"{config.action} refused: version {version} already is the champion.")
    if config.action == "challenge":
        return target, Decision(decision="challenges", reason=config.reason or "no reason given")
    return target, by_hand(
        "approve" if config.action == "approve" else "promote",
        gates_failed=registry.failed_gates(target),
        despite_gates=config.despite_gates,
        reason=config.reason,
        verdict=_verdict(_evidence(deployment, target)),
    )


def _judge(
    deployment: Deployment, registry: ModelRegistry, candidate: ModelHandle, current: ModelHandle | None
) -> Decision:
    document = validation_of(deployment, candidate)
    return decide(
        [Gate(**gate) for gate in document["gates"]],
        candidate_origin=candidate.origin,
        champion_origin=current.origin if current else None,
        same_version=current is not None and current.version == candidate.version,
        rolled_back=registry.was_rolled_back(candidate),
        require_approval=deployment.config.asks_for_approval,
        timezone=deployment.config.timezone,
        verdict=_verdict(document),
    )


def _verdict(document: Mapping[str, Any]) -> PlainVerdict | None:
    """The verdict that was kept with the gates; None where they were judged by an earlier version of us."""
    known = document.get("verdict")
    return None if known is None else PlainVerdict(level=known["level"], reasons=tuple(known["reasons"]))


def validation_of(deployment: Deployment, candidate: ModelHandle) -> dict[str, Any]:
    """The gates of a candidate, as ``model_validation`` wrote them.

    Raises:
        PromotionRefusedError: they were never judged, or those of another candidate were.
    """
    origin = candidate.origin_day(deployment.config.zone)
    document: dict[str, Any] | None = deployment.lake.read_json(f"model_validation/{origin}")
    if document is None or document["candidate_sha256"] != candidate.sha256:
        raise PromotionRefusedError(
            f"{deployment.name}: the gates of version {candidate.version} (origin {origin}) were not judged. Run "
            f"'elv validate-model --origin {origin}', or materialise model_validation for that week."
        )
    return document


def _usable(deployment: Deployment, registry: ModelRegistry, version: str) -> ModelHandle:
    """A registered version that can score with this configuration; refused before anything changes otherwise."""
    handle = registry.version(deployment.name, version)
    load_model(handle).require_compatible(
        outcome_window_days=deployment.label_reach_days,
        feature_lag_days=deployment.config.feature_lag_days,
        target=deployment.config.label_column,
        timezone=deployment.config.timezone,
    )
    return handle


def _pending_version(deployment: Deployment) -> str:
    pending = deployment.lake.read_json(PENDING)
    if not pending:
        raise PromotionRefusedError(
            f"{deployment.name}: approve refused: no candidate waits for approval. 'elv models' lists the versions; "
            f"'elv promote --version N' promotes any of them."
        )
    return str(pending["version"])


def _remember_pending(deployment: Deployment, target: ModelHandle, decision: Decision) -> None:
    """Keep which version waits; a champion that changes, or a newer candidate that fails, ends the waiting."""
    waits = decision.decision == "awaiting approval"
    pending = deployment.lake.read_json(PENDING)
    if pending and not decision.changes_champion and target.origin < pending["origin"]:
        return  # a backfilled candidate neither replaces nor ends what waits
    if waits or decision.changes_champion or decision.failed:
        deployment.lake.write_json(PENDING, {"version": target.version, "origin": target.origin} if waits else None)


def _is_older(deployment: Deployment, target: ModelHandle, other: ModelHandle | None) -> bool:
    """Whether a candidate is older than the model that challenges already: a backfill must not take its place."""
    zone = deployment.config.zone
    return other is not None and target.origin_day(zone) < other.origin_day(zone)


def _audit_log(context: dg.AssetExecutionContext, deployment: Deployment) -> list[tuple[str, str]]:
    """(from, to) of every change of the champion, oldest first: the asset's materialisations are the log."""
    key = dg.AssetKey([deployment.name, "champion"])
    records = context.instance.fetch_materializations(key, limit=10_000).records
    changes = []
    for record in reversed(records):
        event = record.asset_materialization
        entry = {name: value.value for name, value in event.metadata.items()} if event else {}
        if entry.get("from_version") != entry.get("to_version"):
            changes.append((str(entry["from_version"]), str(entry["to_version"])))
    return changes


def _who(context: dg.AssetExecutionContext) -> str:
    tags = context.run.tags
    return tags.get("dagster/schedule_name") or tags.get("user") or "run by hand"


def _evidence(deployment: Deployment, target: ModelHandle) -> dict[str, Any]:
    """The judged gates of the version that the entry is about; empty where they were judged in another home."""
    origin = target.origin_day(deployment.config.zone)
    document: dict[str, Any] = deployment.lake.read_json(f"model_validation/{origin}") or {}
    return document if document.get("candidate_sha256") == target.sha256 else {}


def _candidate(deployment: Deployment, origin: str | None) -> ModelHandle:
    folder = deployment.home.models(deployment.name)
    origins = [origin] if origin else sorted(path.parent.name for path in folder.glob("*/candidate.json"))
    if not origins or not (folder / origins[-1] / "candidate.json").is_file():
        raise ScoringRefusedError(f"{deployment.name}: there is no candidate model to promote. Run 'elv train' first.")
    return read_handle(folder / origins[-1] / "candidate.json")
