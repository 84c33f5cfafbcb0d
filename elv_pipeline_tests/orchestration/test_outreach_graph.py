"""The graph of outreach: one chain a target, shared tables once, beside lead ads; no run."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from elv_pipeline.config_file import load_targets
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline_tests.orchestration.conftest import BETA, configuration

pytestmark = BETA
TABLES = ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes")
SHARED = {"outreach_tables", "moments", "moment_features"}
OWN = {
    *("data_profile", "scored_moments", "matured_labels", "features", "modelling_table", "training_table"),
    *("candidate_model", "model_validation", "champion", "backtest", "day_completeness", "predictions", "drift"),
    *("campaign_leaderboard", "template_leaderboard", "step_leaderboard", "lead_scores", "challenger_predictions"),
    *("challenger_report", "run_report", "monitoring", "alerts", "housekeeping", "recommendations"),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    document = {
        "name": "crm",
        "problem": "outreach",
        "targets": ["booked_call", "converted"],
        "start_date": "2025-01-06",
        "end_date": "2025-06-01",
        "paths": {f"{table}_path": f"exports/{table}.csv" for table in TABLES},
    }
    (tmp_path / "crm.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    place = Home(tmp_path / "home")
    for config in load_targets(tmp_path / "crm.yaml"):
        place.register(config)
    return place


def keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_targets_share_their_tables_and_have_everything_else_of_their_own(home: Home) -> None:
    expected = {f"crm/{noun}" for noun in SHARED}
    expected |= {f"crm_{target}/{noun}" for target in ("booked_call", "converted") for noun in OWN}
    assert keys(build_defs(home=home)) == expected


def test_it_stands_beside_lead_ads(home: Home, tmp_path: Path) -> None:
    home.register(configuration(tmp_path, name="ads"))
    defs = build_defs(home=home)
    assert {"ads/leads", "crm/moments", "crm_converted/predictions"} <= keys(defs)
    assert defs.get_repository_def().get_job("crm_converted_daily")


def test_one_target_alone_brings_the_shared_tables(home: Home) -> None:
    home.configuration_file("crm_booked_call").unlink()
    assert keys(build_defs(home=home)) == {f"crm/{noun}" for noun in SHARED} | {f"crm_converted/{noun}" for noun in OWN}


def test_the_jobs_of_a_target_hold_what_it_reads_and_nothing_of_another(home: Home) -> None:
    repository = build_defs(home=home).get_repository_def()
    layer = repository.get_job("crm_converted_daily").asset_layer
    daily = {key.to_user_string() for key in layer.executable_asset_keys}
    assert {f"crm/{noun}" for noun in SHARED} < daily
    assert {"crm_converted/scored_moments", "crm_converted/lead_scores", "crm_converted/step_leaderboard"} < daily
    assert not {key for key in daily if key.startswith("crm_booked_call/")}
    recommend = repository.get_job("crm_booked_call_recommend").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in recommend} == {"crm/outreach_tables", "crm_booked_call/recommendations"}
    assert not repository.has_job("crm_converted_batch")


def test_every_asset_says_what_it_is(home: Home) -> None:
    graph = build_defs(home=home).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert len(node.description) > 30, key
        assert node.owners, key
        assert node.kinds, key


def test_two_targets_of_one_name_are_two_configurations(home: Home) -> None:
    first, second = home.registered()
    assert first.data_identity() != second.data_identity()
    with pytest.raises(ConfigError, match="already stands for other data"):
        home.register(second.model_copy(update={"name": first.name}))


def test_a_label_is_decided_within_its_window_and_the_wait_for_its_anchor(home: Home) -> None:
    reach = {config.target: deployment_of(config, home).label_reach_days for config in home.registered()}
    assert reach == {"booked_call": 21, "converted": 30}
