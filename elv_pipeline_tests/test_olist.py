"""The real funnel from validation to scores, with the configuration that is shipped. Its folder stays outside."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline_tests.command_line import Answer, elv, outputs

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

CONFIG = Path(__file__).parents[1] / "configs" / "olist_lead_funnel.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = os.environ.get("OLIST_DIR")
    if not name or not (Path(name) / "leads.csv").is_file():
        pytest.skip(
            "OLIST_DIR does not name the folder of the Olist lead funnel; the journey on real data is not tested"
        )
    return tmp_path_factory.mktemp("home")


def run(home: Path, command: str, *arguments: object) -> Answer:
    answer = elv(command, "--config", CONFIG, *arguments, home=home)
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def trained(home: Path) -> Answer:
    return run(home, "train")


@pytest.fixture(scope="module")
def scored(home: Path, trained: Answer) -> Answer:
    return run(home, "score")


@pytest.fixture
def without_observed_from(tmp_path: Path) -> Path:
    lines = CONFIG.read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "olist.yaml"
    path.write_text("".join(line for line in lines if not line.startswith("observed_from")), encoding="utf-8")
    return path


def document(home: Path, answer: Answer, name: str) -> Any:
    return json.loads((home / "runs" / answer.run_id / name).read_text(encoding="utf-8"))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_validation_says_what_is_absent_and_what_is_suspicious(home: Path) -> None:
    answer = run(home, "validate")
    for code in ("no_ads", "unknown_and_empty", "dates_without_time", "young_leads"):
        assert f"{code}:" in answer.out, code
    for code in ("late_outcome_log", "missing_in_disguise", "midnights_of_another_zone"):
        assert f"{code}:" not in answer.out, code  # the configuration deals with them
    assert "to train: ready" in answer.out
    assert "to score: ready" in answer.out


def test_a_log_that_starts_late_is_warned_of_where_the_configuration_does_not_say_so(
    home: Path, without_observed_from: Path, tmp_path: Path
) -> None:
    answer = elv("validate", "--config", without_observed_from, home=tmp_path / "home")
    assert answer.code == 0
    assert "warning late_outcome_log" in answer.out
    assert "Set observed_from: 2018-01-08" in answer.out


def test_the_table_counts_what_the_log_could_show(home: Path) -> None:
    answer = run(home, "build-table")
    counts = document(home, answer, "label_counts.json")
    assert counts["leads"] == 5_345
    assert 2_500 <= counts["labelled"] <= 2_700
    assert 170 <= counts["labelled_positive"] <= 190
    assert counts["leads"] == counts["positive"] + counts["negative"] + counts["unknown"]
    before_the_log = [week for week in counts["by_week"] if week["week"] < "2018-01-01"]
    assert sum(week["negative"] for week in before_the_log) == 0  # no fabricated negatives
    table = pl.read_parquet(home / "runs" / answer.run_id / "table.parquet")
    assert "d41d8cd98f00b204e9800998ecf8427e" not in set(table["ad_id"])
    assert not [name for name in table.columns if "spend" in name]


def test_training_is_honest_about_few_positives(home: Path, trained: Answer) -> None:
    manifest, metrics = document(home, trained, "metadata.json"), document(home, trained, "metrics.json")
    split = manifest["split"]
    assert split["method"] == "out_of_fold"
    assert metrics["calibration"]["out_of_fold"] is True
    assert (split["calibration_from"], split["calibration_until"]) == (None, None)
    # One gap of an outcome window in local days, before the test slice; dates in February have no clock change of
    # their own, but the zone left summer time on 2018-02-18.
    gap = moment(split["test_from"]) - moment(split["train_until"])
    assert timedelta(days=14) - timedelta(hours=1) <= gap <= timedelta(days=14) + timedelta(hours=1)
    assert moment(split["train_from"]) >= moment("2018-01-08T00:00:00-02:00")
    balance = manifest["class_balance"]
    assert balance["training_rows"] + balance["test"]["rows"] < 2_700
    assert "calibrator is fitted out of fold in time" in trained.out
    assert manifest["metric_summary"]["roc_auc"] > 0.5
    assert abs(manifest["metric_summary"]["mean_prediction"] - balance["test"]["base_rate"]) < 0.05


def test_an_origin_with_too_little_behind_it_is_refused_with_its_counts(home: Path, trained: Answer) -> None:
    before = {name: digest for name, digest in outputs(home).items() if name.startswith("models/")}
    answer = elv("train", "--config", CONFIG, "--origin", "2018-02-05", home=home)
    assert answer.code == 4
    fragments = ("labelled (mature) rows with", "positives", "200 labelled rows (model.min_labelled_rows)")
    for fragment in fragments:
        assert fragment in answer.err
    after = {name: digest for name, digest in outputs(home).items() if name.startswith("models/")}
    # Nothing is trained or replaced; the backtest is told why this origin has no model.
    assert after.keys() - before.keys() == {"models/olist/2018-02-05/refused.json"}
    assert before.items() <= after.items()
    reason = json.loads((home / "models" / "olist" / "2018-02-05" / "refused.json").read_text(encoding="utf-8"))
    for fragment in fragments:
        assert fragment in reason["reason"]


def test_leaderboards_without_spend_and_without_ad_sets(home: Path, scored: Answer) -> None:
    folder = home / "runs" / scored.run_id
    board = pl.read_csv(folder / "leaderboard_campaign.csv", infer_schema_length=None)
    for column in ("spend", "elv_per_spend", "elv_per_spend_low", "elv_per_spend_high", "campaign_name"):
        assert board[column].null_count() == board.height, column
    assert "unknown" in board["campaign_id"].to_list()  # a literal of the data, which is not the same as empty
    assert board["campaign_id"].null_count() == 1
    assert not (folder / "leaderboard_adset.csv").exists()
    assert "ad-set leaderboard" in (folder / "report.html").read_text(encoding="utf-8")
    assert board["predicted_elv"].sum() == pytest.approx(
        pl.read_csv(folder / "predictions.csv", infer_schema_length=None)["elv"].sum()
    )


def test_the_bundle_says_that_spend_is_absent(home: Path, scored: Answer) -> None:
    report = (home / "runs" / scored.run_id / "report.html").read_text(encoding="utf-8")
    assert "No ads export is configured" in report


def test_new_leads_are_scored_without_outcomes(home: Path, trained: Answer, tmp_path: Path) -> None:
    leads = pl.read_csv(Path(os.environ["OLIST_DIR"]) / "leads.csv", infer_schema=False).tail(30)
    leads.with_columns(
        lead_id=pl.format("new-{}", pl.int_range(pl.len())), created_time=pl.lit("2018-04-01")
    ).write_csv(tmp_path / "new.csv")
    answer = run(home, "batch-score", "--leads-path", tmp_path / "new.csv")
    found = pl.read_csv(home / "runs" / answer.run_id / "predictions.csv", infer_schema_length=None)
    assert found.height == 30
    assert found["p_qualified_14d"].is_between(0, 1).all()
