"""A challenger beside the champion on the same leads: where they agree, and who was right where they do not.

Belongs here: the comparison of two rankings and, once outcomes have matured, of their results. Does not belong here:
scoring (``predictions.py``) or promotion (``promotion.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import binomtest, spearmanr

from elv_pipeline.learning.metrics import evaluate, row_clusters
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FloatArray = npt.NDArray[np.float64]
SHARES = (0.05, 0.10, 0.20)


def overlap(
    both: pl.DataFrame,
    *,
    timezone: str,
    seed: int,
    samples: int,
    entity: str | None = None,
    words: Words = QUALIFIED_LEADS,
) -> dict[str, Any]:
    """Compare what two models say about the same leads.

    Args:
        both: one row a lead: ``lead_id``, ``created_time``, ``champion`` and ``challenger`` (probabilities), ``y`` (1,
            0, null while the outcome is open). Row order does not matter.
        timezone: of the days and weeks.
        entity: id column of what a row is one of several of; None where each row stands for itself.
        words: what the problem calls its rows.
        seed: of the bootstrap.
        samples: of the bootstrap.

    Returns:
        JSON document: ``leads``; ``top``: for each share the size of the two lists, how many leads are on both
        (``common``, ``agreement``), and what became of those on one only (``only_champion``, ``only_challenger``:
        leads, mature, positives); ``rank_correlation`` (Spearman); ``rank_shift``: median, ninth decile and largest
        distance between a lead's two ranks as shares of the list; ``mean_probability`` of both; ``proof``: log loss of
        both on mature leads with the paired difference (challenger minus champion) and its 95 % interval, and the
        same by week with a sign test over the weeks; None before anything has matured; ``sentence``.
    """
    rows = both.sort("created_time", "lead_id")
    champion, challenger = (rows[name].to_numpy() for name in ("champion", "challenger"))
    if rows.is_empty():
        return {"leads": 0, "sentence": f"No {words.row} has been scored by both models yet."}
    ranks = [_ranks(p) for p in (champion, challenger)]
    shift = np.abs(ranks[0] - ranks[1]) / len(rows)
    proof = _proof(rows.filter(pl.col("y").is_not_null()), timezone=timezone, seed=seed, samples=samples, entity=entity)
    document = {
        "leads": rows.height,
        "top": [_top(rows, *ranks, share=share) for share in SHARES],
        "rank_correlation": _correlation(champion, challenger),
        "rank_shift": {
            "median": float(np.median(shift)),
            "ninth_decile": float(np.quantile(shift, 0.9)),
            "largest": float(shift.max()),
        },
        "mean_probability": {
            "champion": float(np.sort(champion).mean()),
            "challenger": float(np.sort(challenger).mean()),
        },
        "proof": proof,
    }
    return {**document, "sentence": _sentence(document, words)}


def _ranks(p: FloatArray) -> npt.NDArray[np.int64]:
    """Return each row's rank, 0 the best; of equals the earlier row first."""
    order = np.argsort(-p, kind="stable")
    ranks = np.empty(len(p), dtype=np.int64)
    ranks[order] = np.arange(len(p))
    return ranks


def _correlation(champion: FloatArray, challenger: FloatArray) -> float | None:
    if min(len(np.unique(champion)), len(np.unique(challenger))) < 2:
        return None
    return float(spearmanr(champion, challenger).statistic)


def _top(
    rows: pl.DataFrame, champion: npt.NDArray[np.int64], challenger: npt.NDArray[np.int64], *, share: float
) -> dict[str, Any]:
    size = max(int(np.ceil(share * rows.height)), 1)
    ours, theirs = champion < size, challenger < size
    common = int((ours & theirs).sum())
    return {
        "share": share,
        "leads": size,
        "common": common,
        "agreement": common / size,
        "only_champion": _results(rows, ours & ~theirs),
        "only_challenger": _results(rows, theirs & ~ours),
    }


def _results(rows: pl.DataFrame, chosen: npt.NDArray[np.bool_]) -> dict[str, int]:
    y = rows.filter(pl.Series(chosen))["y"]
    known = y.drop_nulls()
    return {"leads": y.len(), "mature": known.len(), "positives": int(known.sum())}


def _proof(
    mature: pl.DataFrame, *, timezone: str, seed: int, samples: int, entity: str | None
) -> dict[str, Any] | None:
    positives = int(mature["y"].sum()) if mature.height else 0
    if not 0 < positives < mature.height:
        return None
    y = mature["y"].cast(pl.Int8).to_numpy()
    judged = evaluate(
        y,
        {"model": mature["challenger"].to_numpy(), "champion": mature["champion"].to_numpy()},
        reference_rate=float(y.mean()),
        seed=seed,
        samples=samples,
        clusters=row_clusters(mature, timezone=timezone, column=entity),
    )
    weeks = _by_week(mature, timezone=timezone)
    differing = [week for week in weeks if week["difference"] != 0]  # a tie is neither won nor lost
    won = sum(week["difference"] < 0 for week in differing)
    return {
        "rows": mature.height,
        "positives": positives,
        "champion": {name: judged["models"]["champion"][name]["value"] for name in ("log_loss", "pr_auc", "roc_auc")},
        "challenger": {name: judged["models"]["model"][name]["value"] for name in ("log_loss", "pr_auc", "roc_auc")},
        "difference": {name: judged["differences"]["champion"][name] for name in ("log_loss", "pr_auc", "roc_auc")},
        "weeks": weeks,
        "weeks_won": won,
        "sign_test_p": float(binomtest(won, len(differing)).pvalue) if differing else 1.0,
    }


def _by_week(mature: pl.DataFrame, *, timezone: str) -> list[dict[str, Any]]:
    def loss(column: str) -> pl.Expr:
        p = pl.col(column).clip(1e-15, 1 - 1e-15)
        return pl.when(pl.col("y") == 1).then(-p.log()).otherwise(-(1 - p).log())

    week = pl.col("created_time").dt.convert_time_zone(timezone).dt.date().dt.truncate("1w")
    found = (
        mature.with_columns(week=week, gap=loss("challenger") - loss("champion"))
        .group_by("week")
        .agg(rows=pl.len(), positives=pl.col("y").cast(pl.Int64).sum(), difference=pl.col("gap").sort().mean())
        .sort("week")
        .with_columns(pl.col("week").cast(pl.String))
    )
    return found.to_dicts()


def _sentence(document: dict[str, Any], words: Words) -> str:
    tenth, proof = document["top"][1], document["proof"]
    agreed = (
        f"Of the best tenth of {document['leads']:,} {words.rows} both models name {tenth['agreement']:.0%} in common"
    )
    if proof is None:
        return f"{agreed}; no outcome of these {words.rows} has matured yet, so nothing tells who is right."
    gap = proof["difference"]["log_loss"]
    span = "" if gap["low"] is None else f", 95 % interval {gap['low']:+.4f} to {gap['high']:+.4f}"
    word = (
        "undecided"
        if gap["low"] is None or gap["low"] <= 0 <= gap["high"]
        else ("the challenger is better" if gap["high"] < 0 else "the champion is better")
    )
    return (
        f"{agreed}; on {proof['rows']:,} mature {words.rows} the challenger's log loss differs by "
        f"{gap['value']:+.4f}{span}, and it was lower in {proof['weeks_won']} of {len(proof['weeks'])} weeks: {word}."
    )
