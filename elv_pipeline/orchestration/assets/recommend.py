"""The asset that says which elements of outreach seem weak, and proposes what to test.

Belongs here: the asset function and the settings it passes on. Does not belong here: any figure
(``decisions/recommend``), the files and the page (``publishing``), or moving a proposal (the commands).
"""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.decisions.recommend.recommendations import Recommendations, RecommendSettings, recommend
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.outreach_deployment import CLEAN, UNOBSERVED, OutreachDeployment
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.language_model import LanguageModelSettings, language_model
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.recommendations import NAME, write_recommendations

_SHOWN = 5


class RecommendConfig(dg.Config):
    """When it is asked.

    Attributes:
        as_of: local day (ISO 8601) at whose end it is asked; empty for the newest moment of the data.
    """

    as_of: str = ""


def recommend_assets(deployment: OutreachDeployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The recommendations of one target."""

    @asset(
        **parts.common("recommendations", group="recommend", kinds={"html", "json"}, deps={CLEAN: None}),
        description="Campaigns, steps, templates, channels and timings by their effect on the target, with interval, n "
        "and how they are known; changes of sequences; edits of weak templates; and proposals with experiment plans, "
        "ranked. Nothing is changed by it.",
    )
    def recommendations(context: dg.AssetExecutionContext, config: RecommendConfig) -> dg.MaterializeResult:
        with narrated(context, "weighing campaigns, steps, templates, channels and timings"):
            as_of = _moment(deployment, config.as_of)
            found = _recommended(deployment, as_of=as_of)
            document = found.document()
            facts = RunFacts(
                run_id=context.run.run_id,
                kind="recommend",
                started_at=datetime.now(UTC),
                as_of_date=str(as_of.astimezone(deployment.config.zone).date()),
                observed_until=deployment.observed_until().isoformat(),
            )
            folder = write_recommendations(
                deployment.home,
                facts,
                config=deployment.config,
                document=document,
                profile=deployment.lake.read_json("data_profile") or {},
            )
        first = [f"{entry['rank']}. {entry['proposal']['change']}" for entry in document["proposals"][:_SHOWN]]
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.url((folder / f"{NAME}.html").as_uri()),
                "bundle": dg.MetadataValue.path(str(folder)),
                "first_proposals": dg.MetadataValue.md("\n".join(first) or "*none*"),
                **{name: count for name, count in document["summary"].items() if isinstance(count, int)},
            }
        )

    return [recommendations]


def _moment(deployment: OutreachDeployment, as_of: str) -> datetime:
    if not as_of:
        return deployment.observed_until()
    return min(deployment.midnight(date.fromisoformat(as_of) + timedelta(days=1)), deployment.observed_until())


def _recommended(deployment: OutreachDeployment, *, as_of: datetime) -> Recommendations:
    chosen = deployment.config.recommend
    writer = language_model(LanguageModelSettings(**chosen.language_model.model_dump()), environment=os.environ)
    tables: Mapping[str, pl.DataFrame] = {
        name: deployment.clean(name).collect() for name in CANONICAL if name != "outcomes" or deployment.has_outcomes
    }
    return recommend(
        {"outcomes": CANONICAL["outcomes"].empty(), **tables},
        settings=recommend_settings(deployment),
        as_of=as_of,
        timezone=deployment.config.timezone,
        writer=writer,
        unobserved=deployment.clean(UNOBSERVED).collect()["enrollment_id"].to_list(),
        observed_from=deployment.config.observed_from_moment,
    )


def recommend_settings(deployment: OutreachDeployment) -> RecommendSettings:
    """What is asked for, from the configuration and the target."""
    config, target = deployment.config, deployment.target
    known = config.value_per_qualified != 1.0  # the default is no value but a count
    return RecommendSettings(
        outcome=target.outcome,
        window_days=target.window_days,
        horizon_days=max(config.recommend.horizon_days, target.window_days),
        label_column=target.name,
        randomised_campaigns=config.recommend.randomised_campaigns,
        value_micros={target.outcome: round(config.value_per_qualified * MICROS)} if known else {},
        effort_days=config.recommend.effort_days,
        weeks=config.recommend.weeks,
        margin=config.recommend.margin,
        seed=config.model.seed,
    )
