"""What is written and bundled names the model that scored each row, whoever is the champion by then."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.errors import ContractError, PromotionRefusedError, ScoringRefusedError
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.assets import scoring as assets_scoring
from elv_pipeline.orchestration.due_days import HELD
from elv_pipeline.orchestration.models_in_use import rows_by_model
from elv_pipeline.orchestration.partitions import PARTITION_TAG, DayRange
from elv_pipeline.orchestration.publication import approve, write_bundle
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.publishing.registry.candidate_evidence import file_digest
from elv_pipeline.publishing.registry.model_handle import ModelHandle, model_from_file, read_handle, write_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Copy, Finished
from elv_pipeline_tests.orchestration.test_prod_models import OTHER
from elv_pipeline_tests.orchestration.test_publication import DAY, other_file, rows, told

__all__ = ["other_file"]
pytestmark = BETA
BEFORE = DayRange(LAST - timedelta(days=1), LAST - timedelta(days=1))
BOTH = DayRange(BEFORE.first, LAST)


@pytest.fixture
def second(finished: Finished, copy: Copy, tmp_path: Path) -> ModelHandle:
    """A second registered version, where trainings put theirs; the first is the champion."""
    folder = copy.deployment.home.models(NAME) / str(finished.origin)
    candidate = read_handle(folder / "candidate.json")
    bundle = ModelBundle.load(Path(candidate.path))
    bundle.metadata["remark"] = "the next one"
    bundle.save(tmp_path / "model.joblib")
    path = folder / file_digest(tmp_path / "model.joblib")[:12] / "model.joblib"
    bundle.save(path)
    candidate.evidence().save(path.parent / "evidence")
    return ModelRegistry(copy.deployment.home).register(path, name=NAME, evidence=candidate.evidence())


def promote(copy: Copy, version: str) -> None:
    registry = ModelRegistry(copy.deployment.home)
    registry.set_champion(registry.version(NAME, version))


def emptied(copy: Copy) -> Path:
    """The table of scores before its first row."""
    file = copy.deployment.home.root / "scores.db"
    file.unlink()
    return file


def written(file: Path) -> dict[str, list[str]]:
    """The model paths of each version in the table of scores."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT DISTINCT model_version, model_path FROM lead_scores ORDER BY 1, 2")
        pairs = found.fetchall()
    return {version: [path for other, path in pairs if other == version] for version, _ in pairs}


def place(copy: Copy, handle: ModelHandle) -> str:
    """Where a registered model lies, below the home."""
    return Path(handle.path).relative_to(copy.deployment.home.root).as_posix()


def first_version(copy: Copy) -> ModelHandle:
    return ModelRegistry(copy.deployment.home).version(NAME, "1")


def json_of(file: Path) -> dict[str, object]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def test_a_promotion_in_the_middle_of_a_run_changes_no_row_and_no_bundle(
    copy: Copy, second: ModelHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write_scored = emptied(copy), assets_scoring.write_scored

    def then_promote(*arguments: object) -> None:
        write_scored(*arguments)  # type: ignore[arg-type]
        promote(copy, second.version)

    monkeypatch.setattr(assets_scoring, "write_scored", then_promote)
    result = copy.run("predictions", "lead_scores", "run_report", days=DAY)
    first = first_version(copy)
    assert written(file) == {"1": [place(copy, first)]}
    bundle = copy.deployment.home.runs / result.run_id
    assert set(pl.read_csv(bundle / "predictions.csv", infer_schema=False)["model_version"]) == {"1"}
    handle = model_from_file(bundle / "model.joblib")  # refuses a model that is not the one in model.json
    assert (handle.version, handle.sha256) == ("1", first.sha256)
    manifest = json_of(bundle / "metadata.json")
    assert (manifest["model_version"], manifest["model_sha256"]) == ("1", first.sha256)
    assert not (bundle / "models").exists()


def test_publishing_that_is_repeated_after_a_promotion_writes_the_model_that_scored(
    copy: Copy, second: ModelHandle
) -> None:
    file = emptied(copy)
    promote(copy, second.version)
    copy.run("lead_scores", days=DAY)
    assert written(file) == {"1": [place(copy, first_version(copy))]}
    copy.run("predictions", "lead_scores", days=DAY)
    assert written(file) == {second.version: [place(copy, second)]}


@pytest.fixture
def of_two(copy: Copy, second: ModelHandle) -> tuple[Path, Path]:
    """Two days of two models, published and reported in one run: the bundle, and the table of scores."""
    file = emptied(copy)
    promote(copy, second.version)
    copy.run("predictions", days=BEFORE)  # the older day has the newer rows
    promote(copy, "1")
    result = copy.run("lead_scores", "run_report", days=BOTH)
    return copy.deployment.home.runs / result.run_id, file


def test_rows_of_several_models_are_written_and_bundled_each_with_its_own(
    copy: Copy, second: ModelHandle, of_two: tuple[Path, Path]
) -> None:
    bundle, file = of_two
    first = first_version(copy)
    assert written(file) == {"1": [place(copy, first)], second.version: [place(copy, second)]}
    counts = copy.deployment.lake.row_counts("predictions", BOTH.days)
    manifest = json_of(bundle / "metadata.json")
    folder = f"models/{first.sha256[:12]}"
    assert manifest["models"] == [
        {
            "version": handle.version,
            "sha256": handle.sha256,
            "origin": handle.origin,
            "rows": counts[day],
            "folder": lies_in,
        }
        for handle, day, lies_in in ((second, BEFORE.first, "."), (first, LAST, folder))
    ]
    for at, handle in ((bundle, second), (bundle / folder, first)):
        found = model_from_file(at / "model.joblib")
        assert (found.version, found.sha256) == (handle.version, handle.sha256)
        assert found.evidence().metrics == handle.evidence().metrics
    checksums = manifest["checksums"]
    assert isinstance(checksums, dict)
    assert f"{folder}/model.joblib" in checksums
    assert (manifest["model_version"], manifest["model_sha256"]) == (second.version, second.sha256)
    [note] = [alert for alert in json.loads((bundle / "alerts.json").read_text()) if alert["code"] == "several_models"]
    assert f"version 2 ({counts[BEFORE.first]} leads), version 1 ({counts[LAST]} leads)" in note["message"]
    assert "several_models" not in (copy.deployment.home.root / "lake" / NAME / "written.json").read_text()


def from_bundle(copy: Copy, bundle: Path) -> int:
    return write_bundle(
        copy.deployment.home,
        predictions_csv=bundle / "predictions.csv",
        metrics_json=bundle / "metrics.json",
        split="all",
        config_path=None,
        dry_run=False,
        who="ana",
    ).inserted


def test_a_bundle_of_several_models_is_written_by_hand_as_its_run_would_have(
    copy: Copy, second: ModelHandle, of_two: tuple[Path, Path]
) -> None:
    bundle, _ = of_two
    file = emptied(copy)
    assert from_bundle(copy, bundle) == rows(file) > 0
    assert written(file) == {"1": [place(copy, first_version(copy))], second.version: [place(copy, second)]}


def test_a_bundle_that_lacks_the_model_of_its_rows_is_not_written(copy: Copy, of_two: tuple[Path, Path]) -> None:
    bundle, _ = of_two
    file = emptied(copy)
    shutil.rmtree(bundle / "models")
    with pytest.raises(ContractError, match=r"row\(s\) of predictions.csv were scored by model version '1'"):
        from_bundle(copy, bundle)
    assert rows(file) == 0


@pytest.mark.parametrize(
    ("noun", "on_the_last_day"),
    [("lead_scores", {"days": DAY}), ("run_report", {"tags": {PARTITION_TAG: str(LAST)}})],
)
@pytest.mark.parametrize(
    "changed",
    [{"model_version": pl.lit("99")}, {"cutoff": pl.col("cutoff") - timedelta(days=7)}],
    ids=["no such version", "the number of another registry's version"],
)
def test_rows_whose_model_is_gone_are_refused_before_anything_is_written(
    copy: Copy, noun: str, on_the_last_day: dict[str, Any], changed: dict[str, pl.Expr]
) -> None:
    file = emptied(copy)
    partition = copy.deployment.lake.partition("predictions", LAST)
    pl.read_parquet(partition).with_columns(**changed).write_parquet(partition)
    before = copy.files()
    with pytest.raises(ScoringRefusedError, match=r"which neither the registry nor this run has") as refusal:
        copy.run(noun, **on_the_last_day)
    [row] = pl.read_parquet(partition).select("model_version", "cutoff").unique().to_dicts()
    assert f"model version '{row['model_version']}' with the cutoff {row['cutoff']:%Y-%m-%d}" in str(refusal.value)
    assert f"known: version 1 with the cutoff {first_version(copy).origin[:10]}" in str(refusal.value)
    assert f"elv score --config <file> --from {LAST} --to {LAST}" in str(refusal.value)
    assert (rows(file), copy.files()) == (0, before)
    assert not (copy.deployment.home.runs).exists()


def test_a_held_day_whose_old_model_is_gone_stops_neither_the_others_nor_their_report(copy: Copy) -> None:
    """What a held day was told was reported by the run that told it."""
    file, last = emptied(copy), copy.deployment.lake.partition("predictions", LAST)
    pl.read_parquet(last).with_columns(model_version=pl.lit("99")).write_parquet(last)
    copy.deployment.lake.write_json(HELD, {str(LAST): {"status": "held", "findings": [], "first_held": str(LAST)}})
    result = copy.run("lead_scores", "run_report", days=BOTH)
    assert set(written(file)) == {"1"}
    reported = pl.read_csv(copy.deployment.home.runs / result.run_id / "predictions.csv", infer_schema=False)
    assert set(reported["lead_id"]) == set(
        pl.read_parquet(copy.deployment.lake.partition("predictions", BEFORE.first))["lead_id"]
    )


def test_a_model_file_is_the_model_of_its_rows_and_is_asked_for_where_it_is_not_named(
    finished: Finished, copy: Copy, tmp_path: Path
) -> None:
    file, model = emptied(copy), tmp_path / "given" / "model.joblib"
    bundle = ModelBundle.load(finished.model)
    bundle.metadata["remark"] = "of nobody's registry"
    bundle.save(model)
    copy.run("predictions", "lead_scores", days=DAY, model=model)
    [(version, paths)] = written(file).items()
    assert (version.startswith("file-"), paths) == (True, [model.as_posix()])
    emptied(copy)
    with pytest.raises(ScoringRefusedError, match=rf"scored by model version '{version}'.*--model"):
        copy.run("lead_scores", days=DAY)
    assert rows(file) == 0
    copy.run("lead_scores", days=DAY, model=model)
    assert written(file) == {version: paths}


def test_a_named_model_comes_before_the_registered_one_of_the_same_number(
    finished: Finished, copy: Copy, second: ModelHandle
) -> None:
    """A bundle of another home names its own version 1."""
    write_handle(replace(second, version="1"), Path(second.path).parent / "model.json")
    rows_of_day = copy.deployment.scan("predictions", first=LAST, last=LAST).collect()
    for path, sha256 in ((second.path, second.sha256), ("", first_version(copy).sha256)):
        [part] = rows_by_model(copy.deployment, rows_of_day, ScoringModel(model_path=path))
        assert (part.handle.sha256, part.rows.height) == (sha256, rows_of_day.height)


def test_the_models_of_rows_do_not_depend_on_their_order(copy: Copy, of_two: tuple[Path, Path]) -> None:
    found = copy.deployment.scan("predictions", first=BOTH.first, last=BOTH.last).collect()
    for frame in (found, found.reverse()):
        parts = rows_by_model(copy.deployment, frame, ScoringModel())
        assert [part.handle.version for part in parts] == ["2", "1"]
    assert rows_by_model(copy.deployment, found.clear(), ScoringModel()) == []


def test_each_models_rows_are_guarded_by_themselves(copy: Copy, of_two: tuple[Path, Path]) -> None:
    """Scores of one model that are all the same hide among those of another on the same day."""
    _, file = of_two
    partition = copy.deployment.lake.partition("predictions", BEFORE.first)
    blank = (
        pl.concat([pl.read_parquet(partition)] * 8)
        .head(25)
        .with_columns(lead_id=pl.format("twin-{}", pl.int_range(pl.len())), p_qualified_14d=pl.lit(0.1))
    )
    both = pl.concat([blank, pl.read_parquet(copy.deployment.lake.partition("predictions", LAST))])
    both.with_columns(day=pl.lit(BEFORE.first)).write_parquet(partition)
    before = written(file)
    result = copy.run("lead_scores", days=BEFORE)
    assert "All 25 leads have the same probability" in told(result)["withheld"]
    assert written(file) == before


def test_in_prod_an_experiments_rows_need_its_own_standing_not_the_champions(
    copy: Copy, second: ModelHandle, other_file: Path
) -> None:
    prod = copy.with_changes(environment="prod", **OTHER)
    approve(prod.deployment, who="ana", reason="cutover of the first account")
    write_handle(second, Path(second.path).parent / "model.json")
    prod.run("predictions", days=DAY, model=Path(second.path))
    with pytest.raises(PromotionRefusedError, match=f"model version {second.version} "):
        prod.run("lead_scores", days=DAY)
    assert rows(other_file) == 0


def test_a_day_without_leads_is_published_and_reported(copy: Copy) -> None:
    partition = copy.deployment.lake.partition("predictions", LAST)
    pl.read_parquet(partition).clear().write_parquet(partition)
    result = copy.run("lead_scores", "run_report", days=DAY)
    assert told(result)["dagster/row_count"] == 0
    handle = read_handle(copy.deployment.home.runs / result.run_id / "model.json")
    assert (handle.version, handle.sha256) == ("1", first_version(copy).sha256)
