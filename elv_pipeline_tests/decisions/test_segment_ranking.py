from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.segment_ranking import rank_segments

VALUE = 100.0


def board(segments: dict[str, tuple[int, float, float | None]], *, adsets: bool = False) -> pl.DataFrame:
    """A leaderboard: segment -> leads, mean p, spend. Ad sets are named ``campaign/adset``."""
    names = list(segments)
    ids: dict[str, Any] = {"campaign_id": [None if name == "none" else name.split("/")[0] for name in names]}
    if adsets:
        ids["adset_id"] = names
    return pl.DataFrame(
        {
            **ids,
            "lead_count": [leads for leads, _, _ in segments.values()],
            "mean_p": [p if leads else None for leads, p, _ in segments.values()],
            "predicted_elv": [leads * p * VALUE for leads, p, _ in segments.values()],
            "spend": [spend for _, _, spend in segments.values()],
            "rank": list(range(1, len(segments) + 1)),
        },
        schema_overrides={"spend": pl.Float64, "campaign_id": pl.String},
    )


def matured(outcomes: dict[str, tuple[int, int]], *, p: float = 0.1) -> pl.DataFrame:
    """Segment -> leads, positives."""
    names = [name for name, (leads, _) in outcomes.items() for _ in range(leads)]
    y = [int(index < won) for leads, won in outcomes.values() for index in range(leads)]
    return pl.DataFrame(
        {"campaign_id": [name.split("/")[0] for name in names], "adset_id": names, "p": [p] * len(names), "y": y},
        schema_overrides={"campaign_id": pl.String, "adset_id": pl.String, "p": pl.Float64, "y": pl.Int8},
    )


def ranked(table: pl.DataFrame, known: pl.DataFrame, *, error: float = 0.4) -> dict[str, dict[str, Any]]:
    levels = ["campaign_id", "adset_id"] if "adset_id" in table.columns else ["campaign_id"]
    errors = {"campaign_id": error, "adset_id": error * 1.25}
    found = rank_segments(table, known, levels=levels, errors=errors, probability_column="p")
    return {row[levels[-1]]: row for row in found.iter_rows(named=True)}


def test_three_lucky_leads_move_little_and_three_hundred_speak_for_themselves() -> None:
    plain = [f"plain{index}" for index in range(8)]
    table = board({name: (50, 0.1, 500.0) for name in ("lucky", "proven", *plain)})
    known = matured({"lucky": (3, 3), "proven": (300, 60), **{name: (300, 30) for name in plain}})
    found = ranked(table, known)
    assert found["proven"]["rank"] == 1, "20 % of 300 beats 100 % of 3"
    assert found["proven"]["shrunk_mean_p"] == pytest.approx(0.19, abs=0.02)
    assert found["lucky"]["shrunk_mean_p"] < 0.17
    assert (found["lucky"]["evidence"], found["proven"]["evidence"]) == ("mostly the parent", "own outcomes")
    lucky, proven = (
        row["shrunk_high"] / row["shrunk_mean_p"] - row["shrunk_low"] / row["shrunk_mean_p"]
        for row in (found["lucky"], found["proven"])
    )
    assert lucky > 1.5 * proven
    assert (found["lucky"]["own_rows"], found["lucky"]["own_positives"]) == (3, 3)


def test_a_new_ad_set_takes_after_its_campaign_and_a_new_campaign_after_the_account() -> None:
    table = board({"good/new": (10, 0.1, 9.0), "bad/new": (10, 0.1, 9.0), "other/new": (10, 0.1, 9.0)}, adsets=True)
    known = matured({"good/old": (400, 80), "bad/old": (400, 15), "third/old": (400, 45)})
    found = ranked(table, known)
    good, bad, other = (found[name]["shrunk_mean_p"] for name in ("good/new", "bad/new", "other/new"))
    assert bad < other < good
    assert good == pytest.approx(0.16, abs=0.02), "one old ad set does not speak for all that a campaign may hold"
    assert other == pytest.approx(0.115, abs=0.02), "the account is at 11.7 % where 10 % were predicted"
    assert {row["evidence"] for row in found.values()} == {"mostly the parent"}


def test_own_outcomes_are_not_counted_again_through_the_parent() -> None:
    """The only ad set of the only campaign: no parent has anything to say, so the prior is the model."""
    table = board({"c/a": (10, 0.1, 9.0)}, adsets=True)
    found = ranked(table, matured({"c/a": (100, 20)}), error=0.4)["c/a"]
    # Account, campaign and ad set add their errors to one gamma prior; 10 were expected, 20 came, scaled by 1 / 0.9.
    variance = (1 + 0.4**2) * (1 + 0.4**2) * (1 + 0.5**2 - 0.4**2) - 1
    # Half of the evidence counts: the model's features hold past outcomes already.
    expected = 0.1 * (1 / variance + 0.5 * 20 / 0.9) / (1 / variance + 0.5 * 10 / 0.9)
    assert found["shrunk_mean_p"] == pytest.approx(expected)


def test_value_and_spend_follow_the_rate_and_what_cannot_be_ranked_comes_last() -> None:
    table = board({"none": (90, 0.4, None), "idle": (0, 0.0, 70.0), "a": (20, 0.1, 100.0), "b": (20, 0.1, 400.0)})
    found = ranked(table, matured({"a": (50, 5), "b": (50, 5)}))
    assert [row["rank"] for row in (found["a"], found["b"], found["idle"], found[None])] == [1, 2, 3, 4]  # type: ignore[index]
    row = found["a"]
    assert row["shrunk_elv"] == pytest.approx(20 * row["shrunk_mean_p"] * VALUE)
    assert row["shrunk_elv_per_lead"] == pytest.approx(row["shrunk_mean_p"] * VALUE)
    assert row["shrunk_elv_per_spend_low"] < row["shrunk_elv_per_spend"] < row["shrunk_elv_per_spend_high"]
    assert found["idle"]["shrunk_mean_p"] is None


def test_without_outcomes_the_model_stands_and_without_spend_value_orders() -> None:
    table = board({"a": (20, 0.1, None), "b": (20, 0.3, None), "c": (20, 0.95, None)})
    found = ranked(table, matured({}))
    assert [found[name]["rank"] for name in "abc"] == [3, 2, 1]
    assert found["b"]["shrunk_mean_p"] == pytest.approx(0.3)
    assert found["c"]["shrunk_high"] == 1.0


def test_row_order_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    table = board({f"c{index}": (int(rng.integers(1, 90)), rng.random() / 5, 50.0) for index in range(30)})
    known = matured({f"c{index}": (int(rng.integers(0, 60)), 0) for index in range(30)}).with_columns(p=pl.lit(0.1))
    known = known.with_columns(p=pl.Series(rng.random(known.height) / 4), y=pl.Series(rng.integers(0, 2, known.height)))
    shuffled = (frame.sample(fraction=1, shuffle=True, seed=2) for frame in (table, known))
    first = rank_segments(table, known, levels=["campaign_id"], errors={"campaign_id": 0.3}, probability_column="p")
    second = rank_segments(*shuffled, levels=["campaign_id"], errors={"campaign_id": 0.3}, probability_column="p")
    assert first.equals(second)


@pytest.mark.parametrize("overstated", [1.0, 2.0])
def test_the_best_fifth_holds_more_true_value_than_by_the_model_or_by_raw_outcomes(overstated: float) -> None:
    rng = np.random.default_rng(7)
    held: dict[str, list[float]] = {"shrunk": [], "model": [], "raw": []}
    for _ in range(25):
        leads = np.maximum(rng.lognormal(3.5, 1.2, 50).astype(int), 1)
        p, factor = rng.beta(3, 40, 50), rng.gamma(1 / 0.4**2, 0.4**2, 50)
        spend, old = leads * rng.lognormal(0, 0.4, 50), rng.poisson(leads * 0.7)
        won = rng.binomial(old, np.minimum(p * factor, 1))
        names = [f"c{index:02d}" for index in range(50)]
        table = board({name: (int(leads[i]), p[i], spend[i]) for i, name in enumerate(names)})
        known = matured({name: (int(old[i]), int(won[i])) for i, name in enumerate(names)})
        known = known.with_columns(p=pl.col("campaign_id").replace_strict(dict(zip(names, p, strict=True))))
        errors = {"campaign_id": 0.4 * overstated}
        found = rank_segments(table, known, levels=["campaign_id"], errors=errors, probability_column="p")
        order = found.join(pl.DataFrame({"campaign_id": names, "i": range(50)}), on="campaign_id").sort("rank")["i"]
        true = p * factor * leads / spend
        raw = np.where(old > 0, won / np.maximum(old, 1), p) * leads / spend
        held["shrunk"].append(true[order.to_numpy()[:10]].mean())
        held["model"].append(true[np.argsort(-p * leads / spend)[:10]].mean())
        held["raw"].append(true[np.argsort(-raw)[:10]].mean())
    assert np.mean(held["shrunk"]) > np.mean(held["model"]) * (1.0 if overstated == 1 else 0.99)
    assert np.mean(held["shrunk"]) > 1.03 * np.mean(held["raw"])
