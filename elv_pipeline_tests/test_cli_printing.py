from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from elv_pipeline import answers, answers_operation
from elv_pipeline.orchestration.housekeeping import Housekeeping
from elv_pipeline.orchestration.old_runs import OldRuns
from elv_pipeline.publishing.retention import PurgeReport, Removed
from elv_pipeline_tests.publishing.sample_content import board, figure

FIGURES = dict.fromkeys(
    ("roc_auc", "pr_auc", "brier", "log_loss", "lift_at_10pct", "calibration_mae"), figure(0.5, 0.1)
)


class Result:
    """A command's result with its documents in memory."""

    def __init__(self, *, baselines: tuple[str, ...] = ("constant",), bundle: Path = Path()) -> None:
        self.bundle = bundle
        self._documents: dict[str, Any] = {
            "metrics.json": {
                "test": {
                    "rows": 2_000,
                    "positives": 150,
                    "base_rate": 0.075,
                    # Local midnights of Berlin, the second one exclusive.
                    "from": "2025-06-08T22:00:00+00:00",
                    "until": "2025-06-29T22:00:00+00:00",
                    "resampled": "days",
                },
                "models": dict.fromkeys(("model", *baselines), FIGURES),
            },
            "metadata.json": {
                "model_type": "lgbm",
                "calibration_method": "beta",
                "timezone": "Europe/Berlin",
                "model_origin": "2025-07-13T22:00:00+00:00",
                "split": {"notes": []},
                "verdict": {"level": "usable with care", "reasons": ["Few positives."]},
            },
        }

    def document(self, name: str) -> Any:
        return self._documents[name]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    text = StringIO()
    monkeypatch.setattr(answers, "out", Console(file=text, width=200, highlight=False, markup=False))
    return text


def test_days_are_local_and_both_inclusive(printed: StringIO) -> None:
    answers.print_metrics(Result())  # type: ignore[arg-type]
    assert "created 9 Jun 2025 to 29 Jun 2025" in printed.getvalue()
    assert "trained as of 14 Jul 2025, 00:00 Europe/Berlin" in printed.getvalue()
    assert "intervals resample days" in printed.getvalue()
    assert "Verdict: usable with care. Few positives." in printed.getvalue()


@pytest.mark.parametrize("baselines", [("constant", "campaign_rate"), ("constant", "logistic_regression")])
def test_only_the_baselines_that_exist_are_shown(printed: StringIO, baselines: tuple[str, ...]) -> None:
    answers.print_metrics(Result(baselines=baselines))  # type: ignore[arg-type]
    assert ("logistic" in printed.getvalue()) == ("logistic_regression" in baselines)


def test_the_interval_of_a_campaign_is_named_for_what_it_holds(printed: StringIO, tmp_path: Path) -> None:
    from elv_pipeline.contracts.outputs import CAMPAIGN_LEADERBOARD

    board(3).select(CAMPAIGN_LEADERBOARD.names).cast({"lead_count": pl.Int64}).write_csv(
        tmp_path / "leaderboard_campaign.csv"
    )
    answers.print_top_campaigns(Result(bundle=tmp_path))  # type: ignore[arg-type]
    assert "95 %: chance and model error" in " ".join(printed.getvalue().split())


def test_a_purge_without_anything_to_remove_says_what_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = StringIO()
    monkeypatch.setattr(answers_operation, "out", Console(file=text, width=200))
    for removed in ((), (Removed(kind="bundle", name="run", size=2_000_000),)):
        files = PurgeReport(dry_run=True, removed=removed, kept_bundles={})
        answers_operation.print_purge(Housekeeping(files=files, runs=OldRuns(removed=(), kept=0)))
    said = " ".join(text.getvalue().split())
    assert said.startswith("Nothing to remove. Looked at: snapshots, bundles")
    assert "the newest snapshot and those of days that the lake does not hold yet" in said
    assert said.endswith("bundle: 1 would go 2.0 MB would be freed.")
    assert "0.0 MB" not in said
