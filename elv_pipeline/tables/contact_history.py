"""Compiler of ``ContactHistory``: what a contact went through in other enrollments, known before each moment.

Belongs here: the facts of a contact, and which of them a moment may know. Does not belong here: how facts are counted
(``event_totals.py`` does, of whatever pairs it is given) or features of the enrollment itself (``event_features.py``).

A moment is joined with the facts of its contact, and every feature is an exact count, sum, minimum or maximum over
those. The limits are strict, so that two enrollments of one contact at the same time do not see each other, whatever
the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

import polars as pl

from elv_pipeline.problems.contact_specs import ENROLLED, PREFIX, ContactHistory
from elv_pipeline.problems.event_specs import OUTCOMES
from elv_pipeline.tables.day_blocks import Columns, Compiled
from elv_pipeline.tables.event_features import EventInputs
from elv_pipeline.tables.event_totals import PairFeatures, compile_pairs
from elv_pipeline.tables.moments import known_time
from elv_pipeline.tables.pair_chunks import facts_by, pair_chunks

_DAY_US = 86_400_000_000
_TIME = pl.Datetime("us", "UTC")


def compiled_contact_history(inputs: EventInputs, *, specs: Sequence[ContactHistory]) -> list[Compiled]:
    """The declarations as pieces for ``feature_batches``, beside those of ``event_features.compiled_events``.

    Args:
        inputs: as for the event features; ``enrollments``, ``events`` and ``outcomes`` hold those of the moments'
            contacts as far back as the lookback, and the enrollment of every such event and outcome, however old.
        specs: the declarations; their columns have different names.
    """
    return [ContactHistories.of(inputs, spec=spec) for spec in specs]


@dataclass(frozen=True, kw_only=True)
class ContactHistories:
    """One compiled declaration."""

    inputs: EventInputs
    spec: ContactHistory
    pairs: PairFeatures

    @classmethod
    def of(cls, inputs: EventInputs, *, spec: ContactHistory) -> ContactHistories:
        """Compile a declaration; nothing is read yet."""
        intervals = [spec.intervals] if spec.intervals else []
        return cls(inputs=inputs, spec=spec, pairs=compile_pairs([spec.counts, spec.recency, *intervals]))

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """Read the facts that a block of moments can know; see ``Compiled``."""
        facts = self._facts(leads)
        sizes = facts_by("contact_id", facts=facts)

        def columns(part: pl.DataFrame) -> pl.DataFrame:
            rows = part.select("contact_id", "enrollment_id", pl.col("prediction_time").dt.epoch("us").alias("moment"))
            chunks = [self._of_chunk(chunk, facts) for chunk in pair_chunks(rows, sizes, key="contact_id")]
            return pl.concat(chunks) if chunks else self._of_chunk(rows, facts)

        return columns

    def _of_chunk(self, rows: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
        numbered = rows.with_row_index("row")
        moment, lookback = pl.col("moment"), self.spec.lookback_days * _DAY_US
        pairs = (
            numbered.lazy()
            .rename({"enrollment_id": "scored"})
            .join(facts.lazy(), on="contact_id")  # m:n: every moment of a contact with every fact of it
            .with_columns((moment - pl.col("time")).alias("age"))
            .filter(
                (pl.col("enrollment_id") != pl.col("scored"))
                & (pl.col("known") < moment)
                & (pl.col("gone") >= moment).fill_null(True)
                & (pl.col("age") < lookback)
            )
            .collect()
        )
        # The hours since the enrollment that is scored come with the recency and are left out below.
        asked = numbered.with_columns(moment.alias("began"))
        found = self.pairs.columns(asked, pairs, facts).select(pl.all().name.prefix(PREFIX))
        shares = numbered.select("row").join(
            self._shares(pairs), on="row", how="left", validate="1:1", maintain_order="left"
        )
        return found.hstack(shares.drop("row")).select(
            pl.when(column.name not in self._of_outcomes or self.inputs.outcomes is not None)
            .then(column.name)
            .alias(column.name)
            for column in self.spec.columns()
        )

    @property
    def _of_outcomes(self) -> frozenset[str]:
        """Columns that nobody knows where no outcomes are configured."""
        return frozenset(column.name for column in self.spec.columns() if (OUTCOMES, "outcome") in column.sources)

    def _shares(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Share of the enrollments that came to each outcome: ``row`` and a column an outcome.

        An enrollment older than the lookback may come to something within it, and one older than the record of
        outcomes may have come to something that nobody wrote down; neither is among those that are counted.
        """
        enrolled, since = self.pairs.kinds.among([ENROLLED]), self.inputs.span.observed_from
        counted = pl.col("moment") - pl.col("began") < self.spec.lookback_days * _DAY_US
        if since is not None:
            counted &= pl.col("began") >= pl.lit(since.astimezone(UTC), _TIME).dt.epoch("us")
        return (
            pairs.filter(counted)
            .group_by("row")
            .agg(
                enrolled.sum().cast(pl.Int64).alias("counted"),
                *(
                    pl.col("enrollment_id")
                    .filter(self.pairs.kinds.among([outcome]))
                    .n_unique()
                    .cast(pl.Int64)
                    .alias(f"{PREFIX}{outcome}_rate")
                    for outcome in self.spec.outcomes
                ),
            )
            .filter(pl.col("counted") > 0)
            .select("row", *(pl.col(f"{PREFIX}{outcome}_rate") / pl.col("counted") for outcome in self.spec.outcomes))
        )

    def _facts(self, moments: pl.DataFrame) -> pl.DataFrame:
        """Facts of the moments' contacts of the kinds that matter, in an order that their content decides."""
        kinds, latest = self.pairs.kinds, moments["prediction_time"].max()
        people = (
            self.inputs.enrollments.select("contact_id", "enrollment_id", "enrolled_time")
            .join(moments.lazy().select("contact_id").unique(), on="contact_id", how="semi")
            .with_columns(pl.col("enrolled_time").dt.epoch("us").alias("began"))
        )
        rows = pl.concat([_enrolled(people), *self._of_enrollments(people)])
        return (
            rows.filter(pl.col("known") < pl.lit(latest, _TIME))
            .select(
                *("contact_id", "enrollment_id", "began"),
                kinds.number().alias("kind"),
                *(pl.col(name).dt.epoch("us") for name in ("time", "known", "gone")),
            )
            .sort("contact_id", "enrollment_id", "time", "known", "kind", "gone")
            .collect(engine="streaming")
        )

    def _of_enrollments(self, people: pl.LazyFrame) -> Iterator[pl.LazyFrame]:
        never = pl.lit(None, _TIME).alias("gone")
        yield (
            self.inputs.events.filter(pl.col("event").is_in({*self.spec.events, *self.spec.engagement}))
            .join(people, on="enrollment_id", validate="m:1")
            .select(*_OF_PERSON, "event", pl.col("event_time").alias("time"), known_time().alias("known"), never)
        )
        if self.inputs.outcomes is not None:
            yield (
                self.inputs.outcomes.filter(pl.col("outcome").is_in(self.spec.outcomes))
                .join(people, on="enrollment_id", validate="m:1")
                .select(
                    *_OF_PERSON,
                    pl.col("outcome").alias("event"),
                    pl.col("outcome_time").alias("time"),
                    pl.max_horizontal("outcome_time", "recorded_time").alias("known"),
                    pl.col("withdrawn_time").alias("gone"),
                )
            )


_OF_PERSON = ("contact_id", "enrollment_id", "began")


def _enrolled(people: pl.LazyFrame) -> pl.LazyFrame:
    """The enrollments as facts."""
    enrolled = pl.col("enrolled_time")
    never = pl.lit(None, _TIME).alias("gone")
    return people.select(
        *_OF_PERSON, pl.lit(ENROLLED).alias("event"), enrolled.alias("time"), enrolled.alias("known"), never
    )
