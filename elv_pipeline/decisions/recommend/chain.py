"""The chain of steps: daily chances of outcome, reply and leaving after each step, and what a sequence brings in all.

Belongs here: weighted counts, smoothed discrete-time hazards, the g-computation over a sequence. Does not belong here:
rows (``spells.py``) or which sequences are compared (``sequencing.py``).

With alive(t) enrollments at risk on day t, of which a share o(t) reaches the outcome, r(t) replies and l(t) leaves:
    rate += alive(t) * (o(t) + r(t) * q(t));  alive(t + 1) = alive(t) * (1 - o(t) - r(t) - l(t))
where q is the share of repliers that reaches the outcome later (Robins, Mathematical Modelling 1986; Singer & Willett,
Journal of Educational Statistics 1993). It is computed in each stratum and averaged over who was enrolled.

Every count is also taken with random weights of the contacts (Rubin, The Bayesian bootstrap, Annals of Statistics
1981), so that whatever follows has an error that knows that one contact's days and enrollments belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from elv_pipeline.decisions.recommend.spells import ENDINGS, REPLIED, wait_class

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
SINCE_EDGES = (0, 1, 2, 4, 7, 14)
"""First days of the classes of days since the last step: 0, 1, 2-3, 4-6, 7-13, 14 and more."""
PRIOR_DAYS = 10.0
"""Days at risk that the next wider class counts in a narrow one; few enough to leave what is well known alone."""
_BLOCK = 20
_OTHER = "(another)"
_VARIANT = ("own", "position", "template_id", "channel", "wait_class")


@dataclass(frozen=True)
class Response:
    """What follows a step.

    Attributes:
        daily: chances of each of ``ENDINGS`` on a day; draws x endings x strata x classes of days since the step.
        later: share of repliers that reach the outcome later; draws x strata.
    """

    daily: FloatArray
    later: FloatArray


@dataclass(frozen=True)
class Chain:
    """Counts of one campaign, and of others at the same positions, under every draw of weights.

    Attributes:
        variants: one row a kind of step: ``own`` (of this campaign), ``position``, ``template_id``, ``channel``,
            ``wait_class``, and as observed ``contacts`` and ``wait`` (median, whole days).
        days: days at risk; draws x variants x strata x classes of days.
        ended: endings; draws x endings x variants x strata x classes of days.
        replied: replies whose horizon was over; draws x variants x strata.
        reached: of these, with the outcome.
        shares: of the strata among the enrollments; draws x strata.
    """

    variants: pl.DataFrame
    days: FloatArray
    ended: FloatArray
    replied: FloatArray
    reached: FloatArray
    shares: FloatArray

    def mask(self, condition: pl.Expr) -> BoolArray:
        """Which variants fulfil a condition."""
        return self.variants.select(condition.fill_null(False)).to_series().to_numpy().astype(np.bool_)

    def contacts(self, mask: BoolArray) -> int:
        """Contacts that were observed after these variants; the same one after several of them counts each time."""
        return int(self.variants["contacts"].to_numpy()[mask].sum())

    def response(self, mask: BoolArray, *, position: int) -> Response:
        """What follows the chosen variants together, smoothed towards their position and the whole campaign."""
        own = self.variants["own"].to_numpy().astype(np.bool_)
        near = own & (self.variants["position"].to_numpy() == position)
        all_days, all_ended = self.days[:, own].sum(axis=(1, 2)), self.ended[:, :, own].sum(axis=(2, 3))
        overall = all_ended.sum(axis=-1, keepdims=True) / all_days.sum(axis=-1)[:, None, None]
        daily = _smoothed(all_ended, all_days[:, None], overall)
        for chosen in (near, mask):
            daily = _smoothed(
                self.ended[:, :, chosen].sum(axis=(2, 3)), self.days[:, chosen].sum(axis=(1, 2))[:, None], daily
            )
        within = self.ended[:, :, mask].sum(axis=2), self.days[:, mask].sum(axis=1)[:, None]
        return Response(_smoothed(*within, daily[:, :, None]), self._later(own, near, mask))

    def _later(self, own: BoolArray, near: BoolArray, mask: BoolArray) -> FloatArray:
        replied, reached = self.replied[:, own].sum(axis=(1, 2)), self.reached[:, own].sum(axis=(1, 2))
        share = np.divide(reached, replied, out=np.zeros_like(reached), where=replied > 0)
        for chosen in (near, mask):
            share = _smoothed(self.reached[:, chosen].sum(axis=(1, 2)), self.replied[:, chosen].sum(axis=(1, 2)), share)
        return _smoothed(self.reached[:, mask].sum(axis=1), self.replied[:, mask].sum(axis=1), share[:, None])

    def rate(self, sequence: Sequence[tuple[int, Response]], *, horizon_days: int) -> FloatArray:
        """Share of enrollments that reach the outcome within the horizon, for every draw; the first is the estimate.

        Args:
            sequence: day and response of each step, rising; the first is the enrollment, on day 0.
            horizon_days: days after the enrollment.
        """
        alive, got = np.ones_like(self.shares), np.zeros_like(self.shares)
        for day in range(horizon_days):
            start, response = [step for step in sequence if step[0] <= day][-1]
            column = sum(day - start >= edge for edge in SINCE_EDGES) - 1
            outcome, reply, left = (response.daily[:, number, :, column] for number in range(len(ENDINGS)))
            got += alive * (outcome + reply * response.later)
            alive = alive * (1 - outcome - reply - left)
        return np.asarray((got * self.shares).sum(axis=1))


def chain_of(rows: pl.DataFrame, *, campaign_id: str, samples: int, seed: int) -> Chain:
    """Count the spells of a campaign, and of others at the same positions.

    Args:
        rows: of ``spells``.
        campaign_id: the campaign; it has at least one enrollment.
        samples: draws of weights beside the estimate itself.
        seed: of the draws; each campaign has its own.
    """
    rows = _labelled(rows, campaign_id)
    contacts, strata = (rows[name].unique().sort() for name in ("contact_id", "stratum"))
    variants = _variants(rows)
    rows = rows.join(variants.select(*_VARIANT, "variant"), on=_VARIANT, how="left", validate="m:1").with_columns(
        pl.col("contact_id").replace_strict(contacts, range(len(contacts)), return_dtype=pl.Int64).alias("contact"),
        pl.col("stratum").replace_strict(strata, range(len(strata)), return_dtype=pl.Int64).alias("group"),
    )
    shape = (len(variants), len(strata), len(SINCE_EDGES))
    long, width = _cells(rows, shape)
    sums = _weighted(long, contacts=len(contacts), width=width, samples=samples, seed=_seed(seed, campaign_id))
    parts = np.split(sums, np.cumsum(_widths(shape))[:-1], axis=1)
    draws = samples + 1
    days, ended = parts[0].reshape(draws, *shape), parts[1].reshape(draws, len(ENDINGS), *shape)
    replied, reached = (part.reshape(draws, *shape[:2]) for part in parts[2:4])
    return Chain(variants, days, ended, replied, reached, parts[4] / parts[4].sum(axis=1, keepdims=True))


def _labelled(rows: pl.DataFrame, campaign_id: str) -> pl.DataFrame:
    own = pl.col("campaign_id") == campaign_id
    rows = rows.with_columns(own=own, wait_class=wait_class(pl.col("wait")))
    mine = rows.filter("own")
    known = rows.filter(pl.col("own") | pl.col("position").is_in(mine["position"].unique().to_list()))
    # Foreign templates are one class: only those that this campaign uses are ever asked for by name.
    templates = mine["template_id"].unique().to_list()
    named = pl.col("own") | pl.col("template_id").is_in(templates)
    return known.filter(pl.col("own") | (pl.col("position") > 0)).with_columns(
        template_id=pl.when(named).then("template_id").otherwise(pl.lit(_OTHER))
    )


def _variants(rows: pl.DataFrame) -> pl.DataFrame:
    found = rows.group_by(*_VARIANT).agg(
        contacts=pl.col("contact_id").n_unique(),
        wait=pl.col("wait").median().round(0, mode="half_away_from_zero").cast(pl.Int64),
    )
    return found.sort(*_VARIANT).with_row_index("variant").with_columns(pl.col("variant").cast(pl.Int64))


def _widths(shape: tuple[int, int, int]) -> list[int]:
    cells, groups = shape[0] * shape[1] * shape[2], shape[0] * shape[1]
    return [cells, len(ENDINGS) * cells, groups, groups, shape[1]]


def _cells(rows: pl.DataFrame, shape: tuple[int, int, int]) -> tuple[pl.DataFrame, int]:
    """Contact, column and amount of everything that is counted."""
    widths = _widths(shape)
    begin = np.cumsum([0, *widths])
    group = pl.col("variant") * shape[1] + pl.col("group")
    parts = []
    for number, edge in enumerate(SINCE_EDGES):
        end = SINCE_EDGES[number + 1] if number + 1 < len(SINCE_EDGES) else None
        until = pl.col("days") if end is None else pl.min_horizontal("days", pl.lit(end))
        cell = group * shape[2] + number
        parts.append(rows.filter(pl.col("days") > edge).select("contact", cell=cell, amount=until - edge))
        within = (pl.col("days") > edge) & (pl.lit(True) if end is None else pl.col("days") <= end)
        for place, ending in enumerate(ENDINGS):
            ended = rows.filter(within & (pl.col("ending") == ending))
            parts.append(
                ended.select("contact", cell=int(begin[1]) + place * widths[0] + cell, amount=pl.lit(1, pl.Int64))
            )
    told = rows.filter((pl.col("ending") == REPLIED) & pl.col("later").is_not_null())
    parts.append(told.select("contact", cell=int(begin[2]) + group, amount=pl.lit(1, pl.Int64)))
    parts.append(told.select("contact", cell=int(begin[3]) + group, amount=pl.col("later").cast(pl.Int64)))
    enrolled = rows.filter(pl.col("own") & (pl.col("position") == 0))
    parts.append(enrolled.select("contact", cell=int(begin[4]) + pl.col("group"), amount=pl.lit(1, pl.Int64)))
    long = pl.concat([part.select("contact", "cell", pl.col("amount").cast(pl.Int64)) for part in parts])
    return long.group_by("contact", "cell").agg(pl.col("amount").sum()).sort("contact", "cell"), int(begin[-1])


def _weighted(long: pl.DataFrame, *, contacts: int, width: int, samples: int, seed: int) -> FloatArray:
    """Sums over the contacts: first plainly, then under each draw of weights."""
    amounts = long["amount"].to_numpy().astype(np.float64)
    table = csr_array((amounts, (long["contact"].to_numpy(), long["cell"].to_numpy())), shape=(contacts, width))
    generator = np.random.default_rng(seed)
    found = [np.asarray(table.sum(axis=0)).reshape(1, width)]
    for start in range(0, samples, _BLOCK):  # in blocks: weights of all draws at once would fill the memory
        weights = generator.standard_exponential((min(_BLOCK, samples - start), contacts))
        found.append(np.asarray((table.T @ weights.T).T))
    return np.concatenate(found)


def _smoothed(events: FloatArray, amounts: FloatArray, prior: FloatArray) -> FloatArray:
    return np.asarray((events + PRIOR_DAYS * prior) / (amounts + PRIOR_DAYS))


def _seed(seed: int, campaign_id: str) -> int:
    return int.from_bytes(sha256(f"{seed}:{campaign_id}".encode()).digest()[:8], "big")
