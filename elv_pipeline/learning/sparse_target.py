"""A wider outcome window where the configured one holds too few outcomes: chosen by a rule, and always said aloud.

Belongs here: which of a few windows is the smallest with enough mature positives, and the words for it. Does not
belong here: labels (``tables.labels``, which counts here, too) or training on them.

A wider window makes another target: "qualified within 28 days" is not "qualified within 14 days". Its rate is higher,
its rows mature later, so widening can also lose rows, and the gaps of the split grow with it. So the choice looks at
mature positives only, at counts and never at how well a model does, and its label belongs next to every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from elv_pipeline.errors import ConfigError
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.tables.labels import Observation, with_status

STEP_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """What one outcome window holds: rows with a label, and the positives among them."""

    window_days: int
    rows: int
    positives: int


@dataclass(frozen=True, kw_only=True)
class WindowChoice:
    """The window to learn with.

    Attributes:
        requested_days: window of the configuration.
        chosen_days: the smallest allowed window with enough mature rows and positives; the requested one where none
            has enough.
        enough: whether the chosen window has enough.
        min_rows: rows it takes.
        min_positives: positives it takes.
        counts: of every window considered, smallest first.
        sentence: what happened and why, for people.
    """

    requested_days: int
    chosen_days: int
    enough: bool
    min_rows: int
    min_positives: int
    counts: tuple[WindowCounts, ...]
    sentence: str

    @property
    def widened(self) -> bool:
        """Whether the target differs from the configured one."""
        return self.chosen_days != self.requested_days


def windows_up_to(requested_days: int, *, cap_days: int) -> tuple[int, ...]:
    """Return the requested window, and those that are whole weeks longer, up to the cap.

    Whole weeks, because weekends would otherwise weigh differently from one window to the next.

    Raises:
        ConfigError: the cap is below the requested window.
    """
    if cap_days < requested_days:
        raise ConfigError(
            f"the widest outcome window is {cap_days} days; it must be at least the {requested_days} days of the "
            "outcome window itself. Raise the cap, or leave it out to never widen"
        )
    return tuple(range(requested_days, cap_days + 1, STEP_DAYS))


def choose_window(
    labels: pl.DataFrame,
    *,
    observation: Observation,
    windows: Sequence[int],
    min_positives: int,
    min_rows: int,
    words: Words = QUALIFIED_LEADS,
) -> WindowChoice:
    """Find the smallest window with enough mature positives.

    Args:
        labels: the columns of ``tables.labels.label_times``.
        observation: what was known, with the requested window; its origin keeps the choice point-in-time.
        windows: windows in days, such as ``windows_up_to`` returns; the requested one is always considered, smaller
            ones never.
        min_positives: positives that learning takes.
        min_rows: labelled rows that learning takes.
        words: what rows are called.
    """
    requested = observation.window_days
    considered = sorted({requested, *(days for days in windows if days > requested)})
    counts = tuple(_counts(labels, replace(observation, window_days=days)) for days in considered)
    sufficient = [item for item in counts if item.positives >= min_positives and item.rows >= min_rows]
    chosen = sufficient[0] if sufficient else counts[0]
    return WindowChoice(
        requested_days=requested,
        chosen_days=chosen.window_days,
        enough=bool(sufficient),
        min_rows=min_rows,
        min_positives=min_positives,
        counts=counts,
        sentence=_sentence(
            counts, chosen, enough=bool(sufficient), min_rows=min_rows, min_positives=min_positives, words=words
        ),
    )


def _counts(labels: pl.DataFrame, observation: Observation) -> WindowCounts:
    y = with_status(labels.lazy(), observation=observation).select("y").collect()["y"].drop_nulls()
    return WindowCounts(window_days=observation.window_days, rows=y.len(), positives=int(y.cast(pl.Int64).sum()))


def _sentence(
    counts: tuple[WindowCounts, ...],
    chosen: WindowCounts,
    *,
    enough: bool,
    min_rows: int,
    min_positives: int,
    words: Words,
) -> str:
    first = counts[0]
    held = f"The outcome window of {first.window_days} days holds {_held(first)}"
    needed = f"learning takes {min_positives} positives among {min_rows} rows"
    if not enough:
        tried = "; ".join(f"{item.window_days} days: {_held(item)}" for item in counts[1:])
        return f"{held}; {needed}. No wider window has enough either" + (f" ({tried})." if tried else ".")
    if chosen is first:
        return f"{held}: enough, it stays as configured."
    return (
        f"{held}; {needed}. A window of {chosen.window_days} days holds {_held(chosen)}: set label_window_days: "
        f"{chosen.window_days}. Probabilities and values then mean outcomes within {chosen.window_days} days: do not "
        f"compare them with those of {first.window_days} days, and expect {words.rows} to mature "
        f"{chosen.window_days - first.window_days} days later."
    )


def _held(counts: WindowCounts) -> str:
    return f"{counts.positives} positives among {counts.rows} mature rows"
