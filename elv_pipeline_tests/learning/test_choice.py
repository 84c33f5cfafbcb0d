from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.choice import choose
from elv_pipeline.learning.splits import plan_split
from elv_pipeline.learning.training import labelled_rows, train
from elv_pipeline_tests.learning.learning_data import make_spec, make_table


def test_auto_takes_the_contender_with_the_lower_loss_and_keeps_the_other_as_a_baseline() -> None:
    table, origin = make_table(rows=4_000, days=200)
    result = train(table, make_spec(model_type="auto"), origin=origin)
    choice = result.metrics["model_choice"]
    losses = choice["log_loss"]
    assert set(losses) == {"lgbm", "logreg"}
    assert choice["chosen"] == min(losses, key=lambda kind: losses[kind]) == result.bundle.metadata["model_type"]
    other = {"lgbm": "logistic_regression", "logreg": "boosted_trees"}[choice["chosen"]]
    assert other in result.metrics["models"]
    assert "later calibration rows" in choice["sentence"]


def test_the_choice_looks_at_no_row_that_judges_the_model() -> None:
    """The test rows' labels are turned around; the same model must be chosen, to the last bit."""
    table, origin = make_table(rows=4_000, days=200)
    spec = make_spec(model_type="auto")
    plan = plan_split(table, spec, origin=origin)
    later = pl.col("created_time") >= plan.test_from
    turned = table.with_columns(y=pl.when(later).then(1 - pl.col("y")).otherwise("y"))
    found = [choose(rows, labelled_rows(rows, plan), spec, plan=plan, observation=None) for rows in (table, turned)]
    assert found[0].evidence == found[1].evidence
    assert found[0].fitted.estimator.to_dict() == found[1].fitted.estimator.to_dict()
    assert found[0].fitted.calibration == found[1].fitted.calibration


def test_a_model_that_is_asked_for_is_taken_whatever_the_other_does() -> None:
    table, origin = make_table()
    result = train(table, make_spec(model_type="logreg"), origin=origin)
    assert result.metrics["model_choice"]["chosen"] == "logreg"
    assert "boosted_trees" not in result.metrics["models"]
    assert "model.model_type" in result.metrics["model_choice"]["sentence"]


def test_learning_from_young_leads_needs_the_moments_of_outcomes() -> None:
    table, origin = make_table()
    with pytest.raises(TrainingRefusedError, match="lacks outcome_time"):
        train(table, replace(make_spec(), learn_from_young=True), origin=origin)
