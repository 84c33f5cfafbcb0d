"""A small search over settings, judged on later rows and slow to believe what it finds.

Belongs here: the candidates, the rule that chooses, and the trace of both. Does not belong here: fitting; whoever
searches hands in a trial that fits a candidate and returns its losses.

The best of many candidates on a small validation tail is mostly the luckiest. So the default stays unless the best
candidate beats it on the latest rows by more than one standard error of the paired difference (the one-standard-error
rule of Breiman et al., Classification and Regression Trees, 1984, section 3.4.3), and is also ahead on an earlier
stretch that had no say in picking it. The budget is counted in fits, never in seconds: the result must not depend on
how busy the machine is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Setting = float | int | bool
# Fewer positives among the latest rows than this, and a difference between two settings is noise.
LEAST_POSITIVES = 100
# Leads of one day share their day's news; fewer days than this cannot tell how much.
LEAST_DAYS = 10
DAY_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True)
class Candidate:
    """A name for people, and what differs from the default settings."""

    name: str
    changes: Mapping[str, Setting]


DEFAULT = Candidate("default", {})
NAMED = (
    Candidate("small random trees", {"extra_trees": True, "num_leaves": 4, "lambda_l2": 20.0}),
    Candidate("no interactions", {"num_leaves": 2, "feature_fraction": 0.3}),
    Candidate("large leaves", {"leaf_factor": 3.0}),
    Candidate("strong penalty", {"lambda_l2": 30.0}),
    Candidate("random thresholds", {"extra_trees": True}),
    Candidate("smooth paths", {"path_smooth": 30.0}),
    Candidate("few features a tree", {"feature_fraction": 0.2}),
    Candidate("rich trees", {"num_leaves": 31, "path_smooth": 20.0}),
)
# What further candidates are drawn from, once the named ones are used up.
GRID: Mapping[str, tuple[Setting, ...]] = {
    "num_leaves": (2, 4, 7, 15, 31),
    "feature_fraction": (0.2, 0.35, 0.5, 0.8),
    "lambda_l2": (1.0, 5.0, 30.0, 100.0),
    "leaf_factor": (1.0, 3.0),
    "path_smooth": (0.0, 30.0),
    "extra_trees": (False, True),
}


def candidates(count: int, *, seed: int) -> tuple[Candidate, ...]:
    """Return ``count`` different candidates beside the default: the named ones first, then seeded draws."""
    chosen = list(NAMED[:count])
    generator = np.random.default_rng(seed)
    seen: list[Mapping[str, Setting]] = [candidate.changes for candidate in chosen]
    most = count if count <= len(NAMED) else min(count, int(np.prod([len(values) for values in GRID.values()])))
    for number in itertools.count(1):
        if len(chosen) >= most:
            return tuple(chosen)
        drawn = {name: values[int(generator.integers(len(values)))] for name, values in GRID.items()}
        if drawn not in seen:
            seen.append(drawn)
            chosen.append(Candidate(f"draw {number}", drawn))
    raise AssertionError("unreachable: the counter has no end")


@dataclass(frozen=True)
class Judgement:
    """How a candidate did on the rows of a stretch: its trees, how many were grown to find that, each row's loss."""

    trees: int
    grown: int
    losses: FloatArray


@dataclass(frozen=True)
class Stretch:
    """Rows later than those fitted, which judge.

    Attributes:
        judge: fits a candidate on the earlier rows and returns its losses on these.
        day: a number for the day of each row; rows of one day are one observation.
        weight: of each row.
    """

    judge: Callable[[Candidate], Judgement]
    day: npt.NDArray[np.int64]
    weight: FloatArray


@dataclass(frozen=True)
class Found:
    """The chosen candidate, the trees it stopped at, and a JSON document of how that came about."""

    candidate: Candidate
    trees: int
    trace: dict[str, Any]


def search(options: Sequence[Candidate], *, latest: Stretch, earlier: Stretch | None) -> Found:
    """Judge the default and each option on the latest stretch; confirm the best one on the earlier stretch.

    Costs one fit for each option and the default, and two more where an option must be confirmed.
    """
    default = latest.judge(DEFAULT)
    judged = [(option, latest.judge(option)) for option in options]
    rows = [_line(DEFAULT, default, default, stretch=latest)]
    rows += [_line(option, judgement, default, stretch=latest) for option, judgement in judged]
    trace: dict[str, Any] = {"candidates": rows, "confirmation": None}
    grown = default.grown + sum(judgement.grown for _, judgement in judged)
    best = min(range(1, len(rows)), key=lambda position: rows[position]["loss"], default=0)
    chosen, why = (judged[best - 1], "") if best else ((DEFAULT, default), "no candidates were asked for")
    if best and rows[best]["improvement"] <= rows[best]["standard_error"]:
        why = f"the best candidate, {chosen[0].name}, is not ahead by more than one standard error"
        chosen = (DEFAULT, default)
    elif best and earlier is not None:
        first, second = earlier.judge(DEFAULT), earlier.judge(chosen[0])
        grown += first.grown + second.grown
        trace["confirmation"] = _line(chosen[0], second, first, stretch=earlier)
        if trace["confirmation"]["improvement"] <= 0:
            why = f"the best candidate, {chosen[0].name}, is ahead on the latest rows but not on earlier ones"
            chosen = (DEFAULT, default)
    if not why:
        where = "and on earlier ones" if trace["confirmation"] else "with no earlier rows to confirm it"
        why = f"{chosen[0].name} is ahead by more than one standard error on the latest rows, {where}"
    fits = len(rows) + 2 * (trace["confirmation"] is not None)
    trace |= {"fits": fits, "trees_grown": grown, "chosen": chosen[0].name, "why": why}
    return Found(chosen[0], chosen[1].trees, trace)


def unsearched(why: str, *, trees: int) -> Found:
    """Return the default with the reason why nothing was searched."""
    trace: dict[str, Any] = {"candidates": [], "confirmation": None, "fits": 0, "trees_grown": 0}
    trace |= {"chosen": DEFAULT.name, "why": why}
    return Found(DEFAULT, trees, trace)


def log_losses(probability: FloatArray, y: npt.NDArray[np.int8]) -> FloatArray:
    """Return the log loss of each row; certainty costs at most 35."""
    of_label = np.where(y == 1, probability, 1 - probability)
    losses: FloatArray = -np.log(np.maximum(of_label, 1e-15))
    return losses


def paired_improvement(
    losses: FloatArray, reference: FloatArray, *, weight: FloatArray, day: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return by how much the mean loss lies below the reference, and the standard error of that, resampling days.

    The linearised (sandwich) error of a ratio with days as clusters (Cameron and Miller, Journal of Human Resources
    50, 2015, section II); rows are their own clusters where there are too few days.
    """
    difference = reference - losses
    total = float(weight.sum())
    mean = float(np.sum(weight * difference)) / total
    residual = weight * (difference - mean)
    days, position = np.unique(day, return_inverse=True)
    sums = np.bincount(position, weights=residual) if len(days) >= LEAST_DAYS else residual
    count = len(sums)
    return mean, float(np.sqrt(np.sum(sums**2) * count / max(count - 1, 1))) / total


def _line(candidate: Candidate, judgement: Judgement, reference: Judgement, *, stretch: Stretch) -> dict[str, Any]:
    improvement, error = paired_improvement(judgement.losses, reference.losses, weight=stretch.weight, day=stretch.day)
    return {
        "name": candidate.name,
        "changes": dict(candidate.changes),
        "trees": judgement.trees,
        "loss": float(np.sum(stretch.weight * judgement.losses)) / float(stretch.weight.sum()),
        "improvement": improvement,
        "standard_error": error,
    }
