"""One journey with own CSVs from validation to scores, as the documentation tells it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elv_pipeline.contracts.outputs import ADSET_LEADERBOARD, CAMPAIGN_LEADERBOARD, predictions_contract
from elv_pipeline.publishing.registry.candidate_evidence import file_digest
from elv_pipeline.synthetic.advertiser import AdvertiserSpec, generate, write
from elv_pipeline_tests.command_line import Answer, elv, outputs

pytestmark = pytest.mark.slow

SPEC = AdvertiserSpec(leads=2_000, days=120, seed=11, campaigns=6, adsets_per_campaign=2, ads_per_adset=2)
LAST_DAY = SPEC.start_date + timedelta(days=SPEC.days - 1)
P = "p_qualified_14d"
PAINFUL_NAME = "[prospecting] Größe [/b]: 50 %, best"
BUNDLE = {
    *("config.yaml", "metadata.json", "data_profile.json", "data_profile.md", "metrics.json", "calibration_bins.csv"),
    *("schema_check.json", "model.joblib", "predictions.csv", "leaderboard_campaign.csv", "leaderboard_adset.csv"),
    *("drift.json", "MODEL_CARD.md", "DATA_CARD.md", "report.html"),
}


@dataclass
class Journey:
    """What each command answered, in one home."""

    folder: Path
    home: Path
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def run(self, name: str, command: str, *arguments: object) -> Answer:
        answer = elv(command, "--config", self.config, *arguments, home=self.home)
        assert answer.code == 0, answer.err
        self.answers[name] = answer
        return answer

    def bundle(self, name: str) -> Path:
        return self.home / "runs" / self.answers[name].run_id

    def document(self, name: str, file: str) -> Any:
        return json.loads((self.bundle(name) / file).read_text(encoding="utf-8"))

    def table(self, name: str, file: str) -> pl.DataFrame:
        types = {"model_version": pl.String, "campaign_id": pl.String}
        return pl.read_csv(self.bundle(name) / file, infer_schema_length=None, schema_overrides=types)

    def scores(self) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.home / "scores.db") as connection:
            return connection.execute("SELECT * FROM lead_scores ORDER BY enrollment_id").fetchall()


def configuration(folder: Path, **keys: object) -> Path:
    paths = {f"{table}_path": f"{table}.csv" for table in ("leads", "ads", "outcomes")}
    document = {
        "name": "journey",
        "org_id": "acme",
        "paths": paths,
        "value_per_qualified": 120,
        "model": {"bootstrap_samples": 50, "model_type": "lgbm", "search_candidates": 2},
        **keys,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    going = Journey(tmp_path_factory.mktemp("exports"), tmp_path_factory.mktemp("home"))
    write(generate(SPEC), going.folder)
    ads = (going.folder / "ads.csv").read_text()
    (going.folder / "ads.csv").write_text(ads.replace("Sweepstakes 01", f'"{PAINFUL_NAME}"'))
    configuration(going.folder)
    going.run("validate", "validate")
    going.run("build-table", "build-table")
    going.run("train", "train")
    going.run("score", "score")
    going.run("score by file", "score", "--model", going.bundle("train") / "model.joblib")
    return going


def test_validation_finds_exports_ready(journey: Journey) -> None:
    answer = journey.answers["validate"]
    assert "to score: ready" in answer.out
    assert "to train: ready" in answer.out
    assert "columns not part of the contract were not loaded: full_name, email, phone_number" in answer.out


def test_the_table_comes_with_its_counts(journey: Journey) -> None:
    folder = journey.bundle("build-table")
    table = pl.read_parquet(folder / "table.parquet")
    counts, joins = (
        journey.document("build-table", "label_counts.json"),
        journey.document("build-table", "join_stats.json"),
    )
    assert table.height == table["lead_id"].n_unique() == counts["leads"] == joins["leads"] == SPEC.leads
    assert table["y"].drop_nulls().len() == counts["labelled"]
    assert table["y"].sum() == counts["labelled_positive"]
    assert counts["positive"] + counts["negative"] + counts["unknown"] == SPEC.leads
    assert sum(week["leads"] for week in counts["by_week"]) == SPEC.leads
    assert sum(joins["by_method"].values()) == SPEC.leads
    assert "full_name" not in table.columns
    assert any("spend" in name for name in table.columns)


@pytest.mark.parametrize("name", ["train", "score", "score by file"])
def test_a_bundle_holds_every_promised_file_with_its_checksum(journey: Journey, name: str) -> None:
    folder = journey.bundle(name)
    assert {file.name for file in folder.iterdir()} >= BUNDLE
    assert journey.document(name, "schema_check.json")["ok"]
    for file, digest in journey.document(name, "metadata.json")["checksums"].items():
        assert file_digest(folder / file) == digest, file


def test_training_judges_on_later_leads_only(journey: Journey) -> None:
    manifest = journey.document("train", "metadata.json")
    split = manifest["split"]
    window = timedelta(days=14)
    assert pl.Series([split["test_from"]]).str.to_datetime(time_zone="UTC")[0] >= (
        pl.Series([split["train_until"]]).str.to_datetime(time_zone="UTC")[0] + window
    )
    assert manifest["kind"] == "train"
    assert manifest["metric_summary"]["roc_auc"] > 0.5
    metrics = journey.document("train", "metrics.json")
    baselines = {"constant", "campaign_rate", "cost_per_lead", "logistic_regression"}
    assert set(metrics["models"]) == {"model"} | baselines
    assert metrics["psi_train_test"]
    decision = next(line for line in journey.answers["train"].out.splitlines() if line.startswith("Decision: "))
    assert decision.startswith("Decision: promoted; all 5 gates passed")
    assert "; it is the first model" in decision
    assert "Verdict: " in journey.answers["train"].out
    validation = journey.document("train", "validation_metrics.json")
    assert (validation["passed"], validation["candidate_version"]) == (True, "1")
    assert manifest["verdict"]["level"] in ("ready", "usable with care", "not ready")


def test_scores_of_the_last_four_weeks_are_published_once(journey: Journey) -> None:
    scored = journey.table("score", "predictions.csv")
    created = scored["created_time"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ")
    assert created.dt.date().min() >= LAST_DAY - timedelta(days=27)  # type: ignore[operator]
    assert created.dt.date().max() == LAST_DAY
    assert scored["rank"].to_list() == list(range(1, scored.height + 1))
    assert [row[1] for row in journey.scores()] == sorted(scored["lead_id"])
    assert {row[0] for row in journey.scores()} == {"acme"}


def test_outputs_fit_their_contracts_and_each_other(journey: Journey) -> None:
    scored = journey.table("score", "predictions.csv")
    assert scored.columns == list(predictions_contract(P).names)
    for file, contract in (
        ("leaderboard_campaign.csv", CAMPAIGN_LEADERBOARD),
        ("leaderboard_adset.csv", ADSET_LEADERBOARD),
    ):
        board = journey.table("score", file)
        assert board.columns == list(contract.names)
        assert board["lead_count"].sum() == scored.height
        assert board["predicted_elv"].sum() == pytest.approx(scored["elv"].sum())
    spend = pl.read_csv(journey.folder / "ads.csv", try_parse_dates=True).filter(
        pl.col("date") >= LAST_DAY - timedelta(days=27)
    )["spend"]
    assert journey.table("score", "leaderboard_campaign.csv")["spend"].sum() == pytest.approx(spend.sum())


def test_names_are_printed_as_they_are(journey: Journey) -> None:
    for part in PAINFUL_NAME.split():
        assert part in journey.answers["score"].out


def test_the_champion_and_its_file_give_the_same_scores(journey: Journey) -> None:
    checksums = [journey.document(name, "metadata.json")["content_checksums"] for name in ("score", "score by file")]
    assert checksums[0] == checksums[1]
    assert journey.document("score by file", "metadata.json")["model_version"] == "1"


def test_a_repeated_score_changes_no_row_of_the_table_of_scores(journey: Journey) -> None:
    """The second run (by file) scored the same leads with the same model: nothing may name it."""
    first = journey.answers["score"].run_id
    with closing(sqlite3.connect(journey.home / "scores.db")) as connection:
        named = {run_id for (run_id,) in connection.execute("SELECT run_id FROM lead_scores")}
    assert named == {first}


def test_training_again_keeps_the_champion(journey: Journey) -> None:
    before = journey.document("train", "metadata.json")
    answer = journey.run("train again", "train")
    assert "Decision: kept; the candidate already is the champion" in answer.out
    after = journey.document("train again", "metadata.json")
    assert (after["model_sha256"], after["content_checksums"]) == (before["model_sha256"], before["content_checksums"])


def test_scores_come_with_grade_range_and_reasons(journey: Journey) -> None:
    scored = journey.table("score", "predictions.csv")
    assert set(scored["grade"]) <= {"A", "B", "C", "D"}
    assert (scored["elv_low"] <= scored["elv"]).all()
    assert (scored["elv"] <= scored["elv_high"]).all()
    reasons = pl.concat([scored[f"reason_{place}"].drop_nulls() for place in (1, 2, 3)])
    assert reasons.len() > scored.height
    assert reasons.str.len_chars().max() <= 150  # type: ignore[operator]
    assert (reasons.str.starts_with("raises: ") | reasons.str.starts_with("lowers: ")).all()
    for file in ("gains.csv", "capture_at_k.csv", "grades.csv", "insights.csv", "reliability.csv"):
        assert pl.read_csv(journey.bundle("train") / file).height > 0, file
    columns = pl.read_csv(journey.bundle("train") / "gains.csv").columns
    assert columns == ["decile", "n", "positives", "lift", "capture", "mean_predicted", "observed"]


def test_a_person_can_judge_explain_challenge_and_go_back(journey: Journey) -> None:
    def ask(*arguments: str) -> Any:
        return elv(arguments[0], "--config", journey.config, *arguments[1:], home=journey.home)

    judged = ask("validate-model")
    assert judged.code == 0
    assert "every gate passed" in judged.out
    listed = ask("models")
    assert "champion" in listed.out
    lead = journey.table("score", "predictions.csv")["lead_id"][0]
    explained = ask("explain", "--lead-id", lead)
    assert explained.code == 0
    assert f"Lead {lead}: probability" in explained.out
    assert "the average lead" in explained.out
    unknown = ask("explain", "--lead-id", "nobody")
    assert unknown.code == 5
    assert "lead 'nobody' is not in the feature table" in unknown.err
    assert "There is no challenger" in ask("challenger").out
    alone = ask("rollback")
    assert alone.code == 7
    assert "only champion this configuration has had" in alone.err
    assert ask("approve").code == 7
    strict = yaml.safe_load(journey.config.read_text()) | {"promotion": {"min_test_positives": 100_000}}
    harsh = journey.config.with_name("harsh.yaml")
    harsh.write_text(yaml.safe_dump(strict))
    failed = elv("validate-model", "--config", harsh, home=journey.home)
    assert failed.code == 7
    assert "failed: test_positives" in failed.out
    assert ask("validate-model").code == 0  # and the verdict of the right thresholds stands again


def test_a_backtest_shows_each_origin_with_its_interval(journey: Journey) -> None:
    last = str(LAST_DAY - timedelta(days=20))
    answer = journey.run("backtest", "backtest", "--to", last, "--every", "5")
    assert "observed where" in answer.out
    document = json.loads((journey.bundle("backtest") / "backtest.json").read_text())
    assert document["refused"]
    assert "labelled (mature) rows" in document["refused"][0]["reason"]
    judged = [entry for entry in document["origins"] if entry["models"] is not None]
    assert judged
    assert all(entry["origin"] <= last for entry in document["origins"])
    assert (journey.bundle("backtest") / "report.html").is_file()


def test_days_outside_the_data_are_refused(journey: Journey) -> None:
    before = outputs(journey.home)
    answer = elv("score", "--config", journey.config, "--from", "2024-12-01", "--to", "2025-01-10", home=journey.home)
    assert answer.code == 2
    assert f"from {SPEC.start_date} to {LAST_DAY}" in answer.err
    assert outputs(journey.home) == before


def test_a_model_that_contradicts_the_configuration_is_refused(journey: Journey, tmp_path: Path) -> None:
    before = outputs(journey.home)
    shutil.copytree(journey.folder, tmp_path / "exports")
    config = configuration(tmp_path / "exports", name="other", label_window_days=7)
    model = journey.bundle("train") / "model.joblib"
    answer = elv("score", "--config", config, "--model", model, home=journey.home)
    assert answer.code == 5
    assert "- outcome_window_days: model 14, configuration 7" in answer.err
    # Accepting the name decided how its ids are stored, and nothing else.
    assert outputs(journey.home).items() - before.items() == {
        (name, digest) for name, digest in outputs(journey.home).items() if name == "lake/other/hashing.json"
    }
    assert before.items() <= outputs(journey.home).items()


def test_a_model_without_its_evidence_is_refused_before_anything_is_published(journey: Journey, tmp_path: Path) -> None:
    before = outputs(journey.home)
    shutil.copyfile(journey.bundle("train") / "model.joblib", tmp_path / "model.joblib")
    answer = elv("score", "--config", journey.config, "--model", tmp_path / "model.joblib", home=journey.home)
    assert answer.code == 5
    assert "evidence is missing" in answer.err
    assert "inside its run bundle" in answer.err
    assert outputs(journey.home) == before


def batch_file(journey: Journey, folder: Path) -> tuple[Path, list[str]]:
    """Five leads of the day after the data, with an outcome column that must not be looked at."""
    leads = pl.read_csv(journey.folder / "leads.csv", infer_schema_length=None).filter(pl.col("ad_id").is_not_null())
    tomorrow = f"{LAST_DAY + timedelta(days=1)}T08:00:00Z"
    new = leads.tail(5).with_columns(
        lead_id=pl.format("new-{}", pl.int_range(5)), created_time=pl.lit(tomorrow), qualified_time=pl.lit(tomorrow)
    )
    new.write_csv(folder / "new_leads.csv")
    return folder / "new_leads.csv", new["lead_id"].to_list()


@pytest.mark.parametrize("by_file", [False, True])
def test_a_batch_is_scored_without_the_outcomes_export(journey: Journey, tmp_path: Path, by_file: bool) -> None:
    path, ids = batch_file(journey, tmp_path)
    before, published = outputs(journey.home), journey.scores()
    outcomes = journey.folder / "outcomes.csv"
    hidden = outcomes.rename(tmp_path / "outcomes.csv")
    try:
        model = ("--model", journey.bundle("train") / "model.joblib") if by_file else ()
        journey.run("batch", "batch-score", "--leads-path", path, *model)
    finally:
        hidden.rename(outcomes)
    assert {file.name for file in journey.bundle("batch").iterdir()} >= BUNDLE
    scored = journey.table("batch", "predictions.csv")
    assert sorted(scored["lead_id"]) == ids
    assert scored["split"].is_in(["young", "score"]).all()  # never seen by the model
    assert journey.document("batch", "metadata.json")["kind"] == "batch"
    # A batch has no partition: it may add its bundle and its row, and touch nothing else.
    after = outputs(journey.home)
    assert {name for name, digest in before.items() if after.get(name) != digest} == {"runs.db"}
    assert journey.scores() == published


def test_a_batch_far_beyond_the_history_is_scored_with_a_warning(journey: Journey, tmp_path: Path) -> None:
    path, _ = batch_file(journey, tmp_path)
    path.write_text(path.read_text().replace(str(LAST_DAY + timedelta(days=1)), str(LAST_DAY + timedelta(days=40))))
    answer = journey.run("late", "batch-score", "--leads-path", path)
    assert "warning  history_ends_early: 5 of 5 leads" in answer.out
    assert "elv build-table" in answer.out


def test_a_batch_of_known_leads_scores_them_as_the_daily_run_did(journey: Journey, tmp_path: Path) -> None:
    leads = pl.read_csv(journey.folder / "leads.csv", infer_schema_length=None).tail(40)
    leads.write_csv(tmp_path / "known.csv")
    journey.run("known", "batch-score", "--leads-path", tmp_path / "known.csv")
    both = journey.table("known", "predictions.csv").join(
        journey.table("score", "predictions.csv"), on="lead_id", validate="1:1"
    )
    assert both.height == 40
    assert both[P].to_list() == both[f"{P}_right"].to_list()


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda text: text.replace("created_time", "created"), "'created_time' is missing"),
        (lambda text: text + text.splitlines()[1] + "\n", "lead_id must be unique"),
        (lambda text: text.encode("latin-1", "replace") + "é\n".encode("latin-1"), "not UTF-8"),
        (lambda text: text.splitlines()[0], "no rows"),
        (lambda text: "", "0 bytes"),
    ],
)
def test_a_bad_batch_is_refused_and_changes_nothing(
    journey: Journey, tmp_path: Path, change: Any, fragment: str
) -> None:
    path, _ = batch_file(journey, tmp_path)
    changed = change(path.read_text())
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    before = outputs(journey.home)
    answer = elv("batch-score", "--config", journey.config, "--leads-path", path, home=journey.home)
    assert (answer.code, "new_leads.csv" in answer.err, fragment in answer.err) == (3, True, True), answer.err
    assert outputs(journey.home) == before


def test_a_model_of_other_features_is_refused_with_the_difference(journey: Journey, tmp_path: Path) -> None:
    shutil.copytree(journey.folder, tmp_path / "exports")
    config = configuration(
        tmp_path / "exports", name="without_ads", paths={"leads_path": "leads.csv", "outcomes_path": "outcomes.csv"}
    )
    published = journey.scores()
    model = journey.bundle("train") / "model.joblib"
    answer = elv("score", "--config", config, "--model", model, home=journey.home)
    assert answer.code == 5
    assert "trained with exports that this configuration does not have" in answer.err
    assert "- paths.ads_path: ad_active_days_14d" in answer.err
    assert journey.scores() == published


def test_exports_that_grew_can_be_scored_to_their_new_end(journey: Journey, tmp_path: Path) -> None:
    """The profile of an earlier run must not decide how far today's exports reach."""
    folder = tmp_path / "exports"
    shutil.copytree(journey.folder, folder)
    rules = {"leads": {"on_before_start": "drop"}}  # a short calendar, so that the test is short
    config = configuration(folder, name="growing", start_date=str(LAST_DAY - timedelta(days=20)), contracts=rules)
    model = journey.bundle("train") / "model.joblib"
    whole = (folder / "leads.csv").read_text()
    week_ago = LAST_DAY - timedelta(days=7)
    shorter = {}
    for table, column in (("leads", "created_time"), ("ads", "date")):
        frame = pl.read_csv(folder / f"{table}.csv", infer_schema=False)
        shorter[table] = frame.filter(pl.col(column).str.slice(0, 10) <= str(week_ago))
        shorter[table].write_csv(folder / f"{table}.csv")
    outcomes = pl.read_csv(folder / "outcomes.csv", infer_schema=False)
    outcomes.join(shorter["leads"], on="lead_id", how="semi").write_csv(folder / "outcomes.csv")
    first = elv("score", "--config", config, "--model", model, "--from", week_ago, "--to", week_ago, home=journey.home)
    assert first.code == 0, first.err
    for table in ("ads", "outcomes"):
        shutil.copyfile(journey.folder / f"{table}.csv", folder / f"{table}.csv")
    (folder / "leads.csv").write_text(whole)
    second = elv("score", "--config", config, "--model", model, "--from", LAST_DAY, "--to", LAST_DAY, home=journey.home)
    assert second.code == 0, second.err
    scored = pl.read_csv(journey.home / "runs" / second.run_id / "predictions.csv")
    assert scored["created_time"].str.slice(0, 10).unique().to_list() == [str(LAST_DAY)]
