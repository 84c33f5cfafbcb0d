from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from elv_pipeline.learning.leakage import LeakageReport, leakage_probes
from elv_pipeline_tests.learning.learning_data import START

CATEGORICAL = ("campaign_id", "platform")


def honest(*, rows: int = 3_000, seed: int = 0, junk: bool = False, rate_logit: float = -2.2) -> pl.DataFrame:
    """Leads of campaigns that differ, with slow aggregates, attributes of the lead, and values missing by campaign.

    With ``junk`` nine leads in ten come from campaigns where next to nobody qualifies and a field is empty.
    """
    rng = np.random.default_rng(seed)
    campaign = rng.integers(0, 12, rows)
    minutes = np.sort(rng.integers(0, 120 * 1_440, rows))
    day = minutes // 1_440
    level = rng.normal(0, 0.7, 12)
    if junk:
        campaign = np.where(rng.random(rows) < 0.9, campaign % 6, 6 + campaign % 6)
        level = np.r_[np.full(6, -5.0), np.full(6, 1.5)]
    drift = np.cumsum(rng.normal(0, 0.15, (120, 12)), axis=0)
    quality = level[campaign] + drift[day, campaign]
    hour, platform = minutes // 60 % 24, rng.integers(0, 3, rows)
    answer = rng.normal(size=rows)
    logit = rate_logit + quality + 0.3 * np.sin(hour / 4) + 0.3 * (platform == 1) + 0.5 * answer
    y = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    return pl.DataFrame(
        {
            "lead_id": [f"lead_{index:06d}" for index in rng.permutation(rows)],
            "created_time": [START + timedelta(minutes=int(minute)) for minute in minutes],
            "split": np.where(day < 80, "train", np.where(day < 94, "gap", "test")),
            "y": y,
            "campaign_id": [f"c{number}" for number in campaign],
            "adset_id": [f"a{number}" for number in campaign * 3 + rng.integers(0, 3, rows)],
            "platform": np.array(["fb", "ig", "msg"])[platform],
            "rate_so_far": quality + rng.normal(0, 0.2, (120, 12))[day, campaign],
            "spend_7d": pl.Series(rng.lognormal(4, 1, (120, 12))[day, campaign]).to_numpy(),
            "hour": hour,
            "answer": answer,
            "noise": rng.normal(size=rows),
            "optional": np.where(campaign < 6, np.nan, rng.normal(size=rows)),
        },
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    ).with_columns(pl.col("optional").fill_nan(None))


def probed(table: pl.DataFrame, **changes: Any) -> LeakageReport:
    """Fit a logistic regression on the train rows and probe it."""
    known = {"lead_id", "created_time", "split", "y", "adset_id", "person"}
    features = [name for name in table.columns if name not in known]

    def encoded(frame: pl.DataFrame) -> np.ndarray:
        numbers = [frame[name].cast(pl.Float64) for name in features if name not in CATEGORICAL]
        texts = [
            (frame[name] == value).cast(pl.Float64)
            for name in CATEGORICAL
            for value in table[name].unique().sort().to_list()
        ]
        columns = [column.fill_null(-3).clip(-50, 50).to_numpy() for column in numbers]
        return np.column_stack([*columns, *(column.to_numpy() for column in texts)])

    train, test = table.filter(pl.col("split") == "train"), table.filter(pl.col("split") == "test")
    with threadpool_limits(limits=1, user_api="blas"):
        solver = LogisticRegression(solver="newton-cholesky")
        model = make_pipeline(StandardScaler(), solver).fit(encoded(train), train["y"].to_numpy())

    def predict(frame: pl.DataFrame) -> np.ndarray:
        return np.asarray(model.predict_proba(encoded(frame))[:, 1])

    importance = pl.DataFrame({"feature": features, "importance": np.linspace(1, 0.1, len(features))})
    return leakage_probes(table, predict(test), features=features, predict=predict, importance=importance, **changes)


def codes(report: LeakageReport) -> list[tuple[str, str | None]]:
    return sorted((finding.code, finding.feature) for finding in report.findings)


@pytest.mark.parametrize("junk", [False, True])
def test_honest_data_have_no_finding(junk: bool) -> None:
    found = [codes(probed(honest(seed=seed, junk=junk))) for seed in range(20)]
    assert found == [[]] * 20


def test_few_outcomes_do_not_look_like_a_leak() -> None:
    found = [codes(probed(honest(rows=1_500, seed=seed, rate_logit=-4.5))) for seed in range(20)]
    assert found == [[]] * 20


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_column_that_is_the_label_is_found(noise: float, junk: bool) -> None:
    for seed in range(5):
        table = honest(seed=seed, junk=junk)
        rng = np.random.default_rng(seed)
        table = table.with_columns(leak=table["y"].to_numpy() + noise * rng.normal(size=table.height))
        report = probed(table)
        assert ("predicts_too_well_alone", "leak") in codes(report)
        assert not any(
            finding.feature in ("answer", "hour", "rate_so_far", "campaign_id") for finding in report.findings
        )


def test_days_until_the_outcome_are_found_by_where_they_are_missing() -> None:
    table = honest(seed=1)
    days = np.random.default_rng(1).integers(1, 14, table.height)
    table = table.with_columns(days_until=pl.when(pl.col("y") == 1).then(pl.Series(days)))
    finding = next(found for found in probed(table).findings if found.feature == "days_until")
    assert finding.code == "missingness_predicts_outcome"
    assert finding.figure == pytest.approx(1.0)
    assert "days_until" in finding.sentence
    filled = probed(table.with_columns(pl.col("days_until").fill_null(14)))
    assert ("predicts_too_well_alone", "days_until") in codes(filled)


def test_a_pattern_of_missing_values_is_found_where_no_single_column_tells() -> None:
    """Of two fields one is empty: both or none are filled for those who qualified."""
    table = honest(seed=2)
    coin = np.random.default_rng(2).random(table.height) < 0.5
    first, second = coin, coin ^ (table["y"].to_numpy() == 0)
    table = table.with_columns(first=pl.when(pl.Series(first)).then(1.0), second=pl.when(pl.Series(second)).then(1.0))
    assert ("missingness_predicts_outcome", None) in codes(probed(table))


def test_a_column_the_model_lives_on_collapses_when_lagged() -> None:
    """Too weak alone for the first rule, but a good model loses most of itself with the previous lead's value."""
    found = 0
    for seed in range(5):
        table = honest(seed=seed, rows=5_000)
        noise = np.random.default_rng(seed).normal(size=table.height)
        report = probed(table.with_columns(calls_made=table["y"].to_numpy() * 1.9 + noise))
        assert all(finding.feature == "calls_made" for finding in report.findings)
        found += ("collapses_when_lagged", "calls_made") in codes(report)
    assert found >= 4


def test_a_leak_spread_over_columns_makes_the_model_too_good() -> None:
    table = honest(seed=3)
    rng = np.random.default_rng(3)
    spread = {f"part_{index}": table["y"].to_numpy() * 1.2 + rng.normal(size=table.height) for index in range(8)}
    report = probed(table.with_columns(**{name: pl.Series(values) for name, values in spread.items()}))
    assert ("model_predicts_too_well", None) in codes(report)


def test_slow_aggregates_survive_the_lag_and_the_probes_show_it() -> None:
    report = probed(honest(seed=4, junk=True))
    kept = dict(report.probes.select("feature", "kept_when_lagged").rows())
    assert kept["rate_so_far"] > 0.8
    assert kept["campaign_id"] > 0.8
    assert report.probes["auc_alone"].drop_nulls().is_sorted(descending=True)
    assert report.summary["probed"] is True
    json.dumps(report.as_dict(), allow_nan=False)


def test_leads_and_persons_on_both_sides_are_found_without_showing_persons() -> None:
    table = honest(seed=5).with_columns(person=pl.lit("secret-") + pl.col("lead_id"))
    assert codes(probed(table, person_columns=["person"])) == []
    train, test = table.filter(pl.col("split") == "train"), table.filter(pl.col("split") == "test")
    doubled = pl.concat([table, test.head(2).with_columns(lead_id=train["lead_id"].head(2))])
    report = probed(doubled, person_columns=["person"])
    assert codes(report) == [("entity_overlap", "lead_id")]
    assert report.findings[0].figure == pytest.approx(2 / (test.height + 2))
    same = table.with_columns(person=pl.lit("secret-") + (pl.int_range(pl.len()) % 500).cast(pl.String))
    finding = probed(same, person_columns=["person"]).findings[0]
    assert (finding.code, finding.feature) == ("entity_overlap", "person")
    assert "secret" not in finding.sentence


def test_what_the_configuration_vouches_for_is_shown_but_no_finding() -> None:
    table = honest(seed=6).with_columns(leak=pl.col("y"))
    report = probed(table, accepted=["leak"])
    assert ("predicts_too_well_alone", "leak") not in codes(report)
    assert [finding.feature for finding in report.accepted] == ["leak"]


def test_without_entities_the_first_rule_still_works() -> None:
    table = honest(seed=7).with_columns(leak=pl.col("y"))
    report = probed(table, entity_columns=())
    assert ("predicts_too_well_alone", "leak") in codes(report)
    assert codes(probed(honest(seed=7), entity_columns=())) == []


def test_too_few_outcomes_are_said_and_not_guessed() -> None:
    table = honest(rows=200, seed=8).with_columns(y=(pl.int_range(pl.len()) % 40 == 0).cast(pl.Int8))
    report = probed(table.with_columns(leak=pl.col("y")))
    assert report.summary["probed"] is False
    assert report.findings == ()
    assert "Too few" in report.summary["sentence"]
    json.dumps(report.as_dict(), allow_nan=False)


def test_row_order_changes_nothing() -> None:
    table = honest(seed=9).with_columns(leak=pl.col("y"))
    features = ["leak", "answer", "campaign_id"]
    importance = pl.DataFrame({"feature": features, "importance": [1.0, 0.5, 0.2]})
    reports = []
    for order in (np.arange(table.height), np.random.default_rng(1).permutation(table.height)):
        mixed = table[order]
        p = 1 / (1 + np.exp(-mixed.filter(pl.col("split") == "test")["answer"].to_numpy()))
        reports.append(
            leakage_probes(
                mixed,
                p,
                features=features,
                predict=lambda frame: 1 / (1 + np.exp(-frame["answer"].to_numpy())),
                importance=importance,
            ).as_dict()
        )
    assert reports[0] == reports[1]
