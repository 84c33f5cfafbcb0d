from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from elv_pipeline.errors import ContractError
from elv_pipeline.synthetic.advertiser import AdvertiserSpec, generate
from elv_pipeline.synthetic.truth import compare_with_truth, ranges_against_truth


@pytest.fixture(scope="module")
def truth() -> pl.DataFrame:
    return generate(AdvertiserSpec(leads=3_000, days=90)).truth


def predictions(truth: pl.DataFrame, *, p: pl.Expr) -> pl.DataFrame:
    return truth.select("lead_id", p_qualified_14d=p)


def test_the_truth_itself_is_perfect(truth: pl.DataFrame) -> None:
    found = compare_with_truth(predictions(truth, p=pl.col("true_p")), truth)
    assert found["predicted"] == found["perfect"]
    assert set(found["perfect"]) == {"roc_auc", "pr_auc", "log_loss", "brier"}
    assert found["mean_absolute_error"] == 0
    assert found["spearman"] == pytest.approx(1)
    assert found["mean_prediction"] == found["mean_truth"] == pytest.approx(0.08, abs=1e-6)
    assert found["positives"] == truth["true_qualified_within_window"].sum()
    assert found["observed_rate"] == pytest.approx(found["positives"] / 3_000)


def test_a_distorted_truth_keeps_its_ranking_and_loses_its_calibration(truth: pl.DataFrame) -> None:
    found = compare_with_truth(predictions(truth, p=(pl.col("true_p") * 1.2)), truth)
    assert found["predicted"]["roc_auc"] == pytest.approx(found["perfect"]["roc_auc"])
    assert found["spearman"] == pytest.approx(1)
    assert found["mean_absolute_error"] == pytest.approx(0.2 * found["mean_truth"])
    assert found["predicted"]["log_loss"] > found["perfect"]["log_loss"]


def test_a_constant_ranks_nothing(truth: pl.DataFrame) -> None:
    found = compare_with_truth(predictions(truth, p=pl.lit(0.08)), truth)
    assert found["predicted"]["roc_auc"] == 0.5
    assert found["spearman"] is None
    assert found["predicted"]["brier"] > found["perfect"]["brier"]


def test_only_common_rows_count_and_their_order_does_not(truth: pl.DataFrame) -> None:
    part = predictions(truth, p=pl.col("true_p") / 2).head(1_000)
    foreign = pl.DataFrame({"lead_id": ["stranger"], "p_qualified_14d": [0.9]})
    found = compare_with_truth(pl.concat([part, foreign]), truth)
    assert (found["rows"], found["rows_without_truth"]) == (1_000, 1)
    shuffled = compare_with_truth(pl.concat([foreign, part.reverse()]), truth.reverse())
    for name in ("mean_absolute_error", "spearman", "mean_prediction"):
        assert shuffled[name] == pytest.approx(found[name])


def test_one_class_gives_none_instead_of_a_made_up_area(truth: pl.DataFrame) -> None:
    negatives = truth.filter(~pl.col("true_qualified_within_window"))
    found = compare_with_truth(predictions(negatives, p=pl.col("true_p")), truth)
    assert found["predicted"]["roc_auc"] is None
    assert found["predicted"]["pr_auc"] is None
    assert found["predicted"]["log_loss"] > 0


def test_another_probability_column_can_be_named(truth: pl.DataFrame) -> None:
    found = compare_with_truth(truth.select("lead_id", chance="true_p"), truth, probability="chance")
    assert found["mean_absolute_error"] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pl.DataFrame({"lead_id": ["a"]}), "column p_qualified_14d is missing; found lead_id"),
        (pl.DataFrame({"lead_id": ["a", "a"], "p_qualified_14d": [0.1, 0.2]}), "'a' occurs more than once"),
        (pl.DataFrame({"lead_id": ["a"], "p_qualified_14d": [1.5]}), "'a' is 1.5; it must be a probability"),
        (pl.DataFrame({"lead_id": ["a"], "p_qualified_14d": [float("nan")]}), "must be a probability"),
        (pl.DataFrame({"lead_id": ["a"], "p_qualified_14d": [None]}), "'a' is None"),
        (pl.DataFrame({"lead_id": ["a"], "p_qualified_14d": [0.5]}), "none of the 1 lead_id is in the truth's 3000"),
    ],
)
def test_unusable_predictions_are_refused(truth: pl.DataFrame, wrong: pl.DataFrame, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        compare_with_truth(wrong, truth)


def test_importing_it_does_not_load_sklearn() -> None:
    modules = "elv_pipeline.synthetic.truth, elv_pipeline.synthetic.advertiser"
    code = f"import sys, {modules}; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ranges_are_judged_by_the_mean_of_a_segment() -> None:
    predictions = pl.DataFrame(
        {
            "lead_id": [f"l{index}" for index in range(40)],
            "campaign_id": ["right"] * 15 + ["wrong"] * 15 + ["few"] * 10,
            "value": [100.0] * 40,
            "elv_low": [8.0] * 40,
            "elv_high": [12.0] * 40,
        }
    )
    true_p = [0.05, 0.10, 0.15] * 5 + [0.2] * 15 + [0.5] * 10
    truth = pl.DataFrame({"lead_id": predictions["lead_id"], "true_p": true_p})
    assert ranges_against_truth(predictions, truth, least=11) == {"segments": 2, "held": 1}
