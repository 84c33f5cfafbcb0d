"""`elv run-daily` and models without a standing, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from elv_pipeline.home import Home
from elv_pipeline.publishing.registry.model_approvals import model_approvals
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, Copy, Finished
from elv_pipeline_tests.orchestration.test_run_daily import UNTIL, Machine, written

pytestmark = [BETA, pytest.mark.slow]


@pytest.fixture
def without_registry(finished: Finished, copy: Copy, tmp_path: Path) -> tuple[Machine, Path]:
    """A home whose registry and models are gone, and a bundle that was kept."""
    bundle = tmp_path / "kept"
    shutil.copytree(finished.training.bundle, bundle)
    root = copy.deployment.home.root
    shutil.rmtree(root / "models")
    (root / "mlflow.db").unlink()
    return Machine(root, written(tmp_path)), bundle


def test_without_a_champion_the_scores_are_written_and_the_answer_says_that_nothing_was_watched(
    without_registry: tuple[Machine, Path],
) -> None:
    machine, bundle = without_registry
    answer = machine.ask("run-daily", "--until", UNTIL, "--artifacts-dir", bundle)
    assert answer.code == 0, answer.err + answer.out
    assert "inserted=" in answer.out
    assert "note: tiny has no champion yet, so nothing was watched" in " ".join(answer.out.split())
    assert len(machine.scores()) > 0
    assert machine.deployment().lake.read_json("monitoring") is None


def test_in_prod_a_bundle_is_refused_until_a_person_has_approved_it(
    without_registry: tuple[Machine, Path], tmp_path: Path
) -> None:
    machine, bundle = without_registry
    written(tmp_path, environment="prod")
    before = machine.scores()
    refused = machine.ask("run-daily", "--until", UNTIL, "--artifacts-dir", bundle)
    assert (refused.code, "never was the champion" in refused.err) == (7, True)
    scored = machine.ask("score", "--model", bundle / "model.joblib", "--from", LAST, "--to", LAST)
    assert scored.code == 7, scored.err
    assert machine.scores() == before
    approved = machine.ask("approve-model", "--model", bundle, "--who", "ana", "--reason", "the registry is lost")
    assert approved.code == 0, approved.err
    assert "is approved for prod by ana" in approved.out
    [given] = model_approvals(Home(machine.home))
    assert (given.who, given.reason) == ("ana", "the registry is lost")
    done = machine.ask("score", "--model", bundle / "model.joblib", "--from", LAST, "--to", LAST)
    assert done.code == 0, done.err
    newest = machine.deployment().lake.read_json("written")
    assert newest["inserted"] + newest["updated"] + newest["unchanged"] > 0
    missing = machine.ask("approve-model", "--model", tmp_path / "nowhere", "--who", "ana", "--reason", "no such model")
    assert (missing.code, "--model" in missing.err) == (2, True)


def test_in_prod_a_bundle_scores_without_writing(without_registry: tuple[Machine, Path], tmp_path: Path) -> None:
    machine, bundle = without_registry
    written(tmp_path, environment="prod")
    before = machine.scores()
    days = ("--from", LAST, "--to", LAST)
    answer = machine.ask("score", "--model", bundle / "model.joblib", *days, "--no-persist-scores")
    assert answer.code == 0, answer.err
    assert machine.scores() == before
    assert machine.deployment().lake.read_json("written")["withheld"] == "The run was asked not to write scores."
