"""The backtest asset: what the models of many origins said about the weeks after them, beside what happened.

Belongs here: gathering rows and the asset function. Does not belong here: training at an origin (a backfill of the
weekly assets), or the aggregation (``learning/backtest.py``).
"""

import json
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from elv_pipeline.errors import ElvError, ScoringRefusedError
from elv_pipeline.learning.backtest import OriginRows, backtest
from elv_pipeline.learning.baselines import Baselines, ConstantRate
from elv_pipeline.learning.outcome_value import COLUMN, realised
from elv_pipeline.learning.value_model import value_model_from_dict
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.assets.learning import REFUSED, learning_spec
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import picture
from elv_pipeline.orchestration.partitions import week_of
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.pages.backtest.page import backtest_charts, backtest_table, render_backtest
from elv_pipeline.publishing.registry.model_handle import load_model, read_handle
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.tables.labels import with_status, with_value


class BacktestConfig(dg.Config):
    """Which origins are judged, on how many days after each.

    Attributes:
        first: oldest origin, ISO date; empty for the oldest candidate there is.
        last: newest origin; empty for the newest.
        horizon_days: leads created within this many days after an origin judge its model.
    """

    first: str = ""
    last: str = ""
    horizon_days: int = Field(default=28, ge=1)


def backtest_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The backtest."""

    @asset(
        **parts.common(
            "backtest",
            group="proof",
            kinds={"html"},
            deps=dict.fromkeys(("candidate_model", "features", "matured_labels")),
        ),
        description="The models of the backfilled origins on the weeks after each, once those matured: metrics with "
        "intervals by origin, stability, calibration over time, realised against predicted value, baselines. Backfill "
        "candidate_model over the weeks first, or run elv backtest.",
        check_specs=[
            dg.AssetCheckSpec(
                "beats_baselines_over_time",
                asset=parts.key("backtest"),
                description="Pooled over the origins, the log loss is surely below every rate baseline's.",
            )
        ],
    )
    def backtest_asset(context: dg.AssetExecutionContext, config: BacktestConfig) -> dg.MaterializeResult:
        with narrated(context, "judging the models of past origins on the weeks after them"):
            found, refused = gather(deployment, config)
            document = backtest(found, learning_spec(deployment), refused=refused)
            table = backtest_table(document)
            folder = write_plain_bundle(
                deployment.home,
                RunFacts(
                    run_id=context.run.run_id,
                    kind="backtest",
                    started_at=datetime.now(UTC),
                    as_of_date=str(found[-1].origin),
                    observed_until=deployment.observed_until().isoformat(),
                ),
                config=deployment.config,
                profile=deployment.lake.read_json("data_profile") or {},
                documents={"backtest": document},
                tables={"backtest": table},
                pages={"report": render_backtest(document, config=deployment.config)},
            )
        charts = backtest_charts(document, currency=deployment.config.currency, words=deployment.words)
        return dg.MaterializeResult(
            metadata={
                "bundle": dg.MetadataValue.path(str(folder)),
                "report": dg.MetadataValue.url((folder / "report.html").as_uri()),
                "summary": document["sentence"],
                "origins": len(document["origins"]),
                "refused": len(document["refused"]),
                **{f"{name}_by_origin": picture(chart, title=name) for name, chart in charts.items()},
            },
            check_results=[_check(document)],
        )

    return [backtest_asset]


def _check(document: dict[str, object]) -> dg.AssetCheckResult:
    pooled = document["pooled"]
    differences = pooled["differences"] if isinstance(pooled, dict) else {}
    losses = {name: differences[name]["log_loss"] for name in ("constant", "campaign_rate") if name in differences}
    return dg.AssetCheckResult(
        check_name="beats_baselines_over_time",
        passed=bool(losses) and all(loss["high"] is not None and loss["high"] < 0 for loss in losses.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"log_loss_differences": json.dumps(losses)},
    )


def gather(deployment: Deployment, config: BacktestConfig) -> tuple[list[OriginRows], dict[date, str]]:
    """Every weekly candidate in the range with the leads after it, and the origins at which training was refused.

    Models of other days were asked for where something had gone wrong; with them, the same weeks would be judged
    differently in a home that had asked.

    Raises:
        ElvError: no origin of the range has a model.
    """
    folders = sorted(
        path
        for path in deployment.home.models(deployment.name).glob("*")
        if path.is_dir() and week_of(deployment, date.fromisoformat(path.name)) == date.fromisoformat(path.name)
    )
    inside = [
        folder
        for folder in folders
        if (not config.first or folder.name >= config.first) and (not config.last or folder.name <= config.last)
    ]
    refused = {
        date.fromisoformat(folder.name): str(json.loads((folder / REFUSED).read_text(encoding="utf-8"))["reason"])
        for folder in inside
        if (folder / REFUSED).is_file()
    }
    trained = [
        date.fromisoformat(folder.name)
        for folder in inside
        if (folder / "candidate.json").is_file() and date.fromisoformat(folder.name) not in refused
    ]
    if not trained:
        reasons = "".join(f"\n- {day}: {reason}" for day, reason in sorted(refused.items()))
        raise ElvError(
            f"{deployment.name}: no origin of {config.first or 'the calendar'} to {config.last or 'today'} has a "
            f"model. Backfill candidate_model over the weeks, or run 'elv backtest'.{reasons}"
        )
    found = []
    for day in trained:
        try:
            found.append(_origin_rows(deployment, day, horizon_days=config.horizon_days))
        except ScoringRefusedError as error:  # one model that cannot be used must not hide what the others showed
            refused[day] = f"its model cannot be used: {error}"
    if not found:
        raise ElvError(f"{deployment.name}: no model of these origins can be used; train again: {refused}")
    return found, refused


def _origin_rows(deployment: Deployment, origin: date, *, horizon_days: int) -> OriginRows:
    handle = read_handle(deployment.home.models(deployment.name) / origin.isoformat() / "candidate.json")
    model, baselines = load_model(handle), Baselines.from_dict(handle.evidence().baselines)
    if not baselines.by_name:
        raise ScoringRefusedError(f"the model of {origin} was trained by an earlier version; train that week again")
    value = model.metadata.get("value_model")
    last = origin + timedelta(days=horizon_days - 1)
    rows = _labelled_rows(deployment, first=origin, last=last)
    known = rows.filter(pl.col("y").is_not_null())
    worth = (
        np.full(known.height, deployment.config.value_per_qualified)
        if value is None
        else value_model_from_dict(value).predict(known)
    )
    constant = baselines.by_name["constant"]
    assert isinstance(constant, ConstantRate)
    return OriginRows(
        origin=origin,
        moment=datetime.fromisoformat(handle.origin),
        version=handle.version,
        rows=known.select(
            "lead_id", "created_time", "y", *(name for name in [deployment.words.entity_id] if name is not None)
        ),
        predictions={"model": model.predict(known), **baselines.predict(known)},
        worth=worth,
        realised=realised(known, worth, learned=value is not None),
        reference_rate=constant.rate,
        waiting=int((~rows["mature"]).sum()),
    )


def _labelled_rows(deployment: Deployment, *, first: date, last: date) -> pl.DataFrame:
    """Features of the leads between two days with what is known of their outcomes now; none where no day is there."""
    if not all(
        any(first <= day <= last for day in deployment.lake.days(name)) for name in ("features", "matured_labels")
    ):
        newest = deployment.lake.days("features")[-1]
        columns = deployment.scan("features", first=newest, last=newest).collect().clear()
        return columns.with_columns(pl.lit(None, pl.Boolean).alias("mature"), pl.lit(None, pl.Int8).alias("y"))
    labels = with_value(deployment.scan("matured_labels", first=first, last=last), column=COLUMN)
    status = with_status(labels, observation=deployment.observation()).select("lead_id", "mature", "y", COLUMN)
    return (
        deployment.scan("features", first=first, last=last)
        .join(status, on="lead_id", how="inner", validate="1:1")
        .sort("created_time", "lead_id")
        .collect(engine="streaming")
    )
