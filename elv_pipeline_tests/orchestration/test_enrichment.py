"""The optional exports from files to features, model and scores; and a model that misses one refuses to score."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.commands import opened
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.exports_at_hand import CONTRACTS
from elv_pipeline.orchestration.workspace import CommandResult
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, Finished, configuration, isolate

pytestmark = [BETA, pytest.mark.slow]  # trains with 248 features
TABLES = ("ads", "leads", "outcomes")
ENRICHMENTS = ("ads_placement", "ads_geo", "adset_targeting", "ad_creatives")


def write_enrichments(exports: Path) -> None:
    """Breakdowns that sum to the ads export, and properties of its ads and ad sets."""
    ads = pl.read_csv(exports / "ads.csv", infer_schema=False)
    whole = ads.select("date", "ad_id", *(pl.col(name).cast(pl.Int64) for name in ("impressions", "clicks")), "spend")
    for table, column, values in (
        ("ads_placement", "placement", ("facebook_feed", "instagram_stories")),
        ("ads_geo", "geo", ("DE", "AT")),
    ):
        first = whole.with_columns(pl.lit(values[0]).alias(column), pl.col("clicks") * 0, spend=pl.lit("0.00"))
        second = whole.with_columns(pl.lit(values[1]).alias(column), pl.col("impressions") - 0)
        first = first.with_columns(pl.col("impressions") // 3)
        pl.concat([first, second.with_columns(pl.col("impressions"))]).write_csv(exports / f"{table}.csv")
    adsets = ads.select("adset_id").unique().sort("adset_id")
    keywords = pl.Series("audience_keywords", ["running | shoes", "golf; tennis", ""])
    adsets.with_columns(keywords[[n % 3 for n in range(adsets.height)]]).write_csv(exports / "adset_targeting.csv")
    creatives = ads.select("ad_id").unique().sort("ad_id")
    kinds = pl.Series("creative_type", ["Image", "video "])
    creatives.with_columns(kinds[[n % 2 for n in range(creatives.height)]]).write_csv(exports / "ad_creatives.csv")


@dataclass(frozen=True)
class Rich:
    """A home that trained and scored with every optional export."""

    deployment: Deployment
    scoring: CommandResult
    folder: Path


@pytest.fixture(scope="module")
def rich(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Rich:
    folder = tmp_path_factory.mktemp("rich")
    shutil.copytree(finished.deployment.home.root.parent / "exports", folder / "exports")
    write_enrichments(folder / "exports")
    paths = {f"{table}_path": f"exports/{table}.csv" for table in (*TABLES, *ENRICHMENTS)}
    config = configuration(folder, name="rich", paths=paths)
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        with opened(config, Home(folder / "home")) as session:
            session.build_history()
            session.train_only(session.default_origin())
            scoring = session.score(first=LAST, last=LAST)
    return Rich(session.deployment, scoring, folder)


def test_features_hold_what_the_exports_say(rich: Rich) -> None:
    table = rich.deployment.scan("features", first=LAST, last=LAST).collect().drop_nulls("ad_id")
    assert table.height
    spent = table.filter(pl.col("ad_spend_28d") > 0)
    assert spent["ad_placement_spend_28d"].to_list() == spent["ad_spend_28d"].to_list()
    assert set(spent["ad_placement_top_spend_share_28d"]) == {1.0}
    assert set(spent["ad_geo_active_28d"]) == {2}
    assert set(table["category_creative_type"].drop_nulls()) <= {"image", "video"}
    assert set(table["audience_distinct_tokens"].drop_nulls()) <= {0, 2}
    assert table.select(pl.sum_horizontal(pl.col("^audience_token_..$")).max()).item() <= 2


def test_profile_and_report_say_which_enrichments_there_are(rich: Rich) -> None:
    profile = rich.deployment.lake.read_json("data_profile")
    assert profile is not None
    assert set(ENRICHMENTS) <= set(profile["tables"])
    covered = {(row["table"], row["found_in"]): row["share"] for row in profile["id_coverage"]}
    assert covered["ads", "ads_placement"] == covered["ads", "ad_creatives"] == 1.0
    report = (rich.scoring.bundle / "report.html").read_text(encoding="utf-8")
    assert "ad_placement_spend_28d" in report
    assert "Optional exports that are not configured" not in report


def test_a_model_trained_with_an_enrichment_refuses_to_score_without_it(rich: Rich) -> None:
    model = rich.scoring.bundle / "model.joblib"
    paths = {f"{table}_path": f"exports/{table}.csv" for table in (*TABLES, "ads_geo", "ad_creatives")}
    poor = configuration(rich.folder, name="poor", paths=paths)
    with opened(poor, Home(rich.folder / "home")) as session:
        session.build_history()
        with pytest.raises(ScoringRefusedError) as caught:
            session.score(first=LAST, last=LAST, model=str(model))
    message = str(caught.value)
    assert "- paths.ads_placement_path: ad_placement_" in message
    assert "- paths.adset_targeting_path: audience_" in message
    assert "ads_geo_path" not in message


def test_every_feature_column_names_columns_that_its_tables_have(rich: Rich) -> None:
    found = rich.deployment.problem.feature_columns(rich.deployment.data(), lag_days=1)
    named = {(table, column) for feature in found for table, column in feature.sources}
    assert {table for table, _ in named} >= {"ads", "leads", *ENRICHMENTS}
    columns = {table: contract.names for table, contract in CONTRACTS.items()}
    columns["joined_leads"] = tuple(rich.deployment.scan("joined_leads", first=LAST, last=LAST).collect_schema())
    assert not {(table, column) for table, column in named if column not in columns[table]}
