"""The facts of one monitoring page, and what follows from them by sorting and adding.

Belongs here: the container of facts, its check, and the few derivations that figures, tables and words share. Does not
belong here: taking a measurement (``monitoring/``), what is usual (``bands.py``), sentences (``words.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import groupby
from math import sqrt
from typing import Any, cast

import polars as pl

from elv_pipeline.errors import ElvError
from elv_pipeline.learning.local_days import local_day
from elv_pipeline.monitoring.alert import SEVERITIES
from elv_pipeline.monitoring.alert_rules_inputs import TableAge
from elv_pipeline.monitoring.domain_classifier import MOST_AUC
from elv_pipeline.monitoring.drift import MOST_SCORE_PSI
from elv_pipeline.monitoring.held_days import Record
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.monitoring.bands import Band, count_bands

Row = Mapping[str, Any]

DAYS = {
    "day": pl.Date,
    "leads": pl.Int64,
    "mean_probability": pl.Float64,
    "score_spread": pl.Float64,
    "expected_value": pl.Float64,
    "model_version": pl.String,
    "held": pl.Boolean,
    "drifted": pl.Int64,
}
ROWS = {"table": pl.String, "day": pl.Date, "rows": pl.Int64}
RECENT_COHORTS = 4


@dataclass(frozen=True, kw_only=True)
class ModelSpan:
    """Consecutive days that one model version scored; ``until`` is the last of them."""

    version: str
    first: date
    until: date
    days: int
    leads: int

    @property
    def length(self) -> int:
        """Calendar days from the first to the last, both counted."""
        return (self.until - self.first).days + 1


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Observed over expected outcomes with its 95 % interval.

    Attributes:
        cohorts: complete weeks behind it.
    """

    observed: float
    expected: float
    ratio: float
    low: float | None
    high: float | None
    cohorts: int


@dataclass(frozen=True, kw_only=True)
class MonitoringContent:
    """Everything that the page shows. None and empty mean "not known"; the page then says so.

    Attributes:
        name: the configuration's.
        org_id: organisation the leads belong to.
        currency: of all money.
        timezone: in which days and moments are shown.
        as_of: moment (UTC) for which the page is made.
        days: one row a local day with the columns of ``DAYS``, in any order: ``leads`` scored, mean and standard
            deviation (``score_spread``) of their probabilities, sum of their expected value, the version that scored
            them, whether the day is held back, how many comparisons drifted (null where none was made).
        rows: rows of each table by day (columns of ``ROWS``), as ``day_completeness.completeness`` takes them.
        drift: rows of ``DRIFT`` with ``day``; several days.
        performance: rows of ``PERFORMANCE`` (``reconciliation.performance_table``).
        prevalence: ``prevalence.prevalence`` of mature leads by cohort, each with ``cohort`` (a date or ISO text);
            where a cohort has none, observed over expected is taken from ``performance``.
        reconciled: result of ``reconciliation.reconcile``.
        calibration: result of ``prevalence.calibration_drift``.
        models: registered versions: ``version``, ``origin`` (ISO moment or day the training was as of).
        audit: entries of the champion's log: ``at`` (ISO moment), ``decision``, ``reason``, ``from_version``,
            ``to_version``, ``candidate_version``. Who decided stays in the log.
        alerts: open alerts, each with ``since`` (ISO moment of ``first_seen``).
        held: the record of held days (lake JSON ``held/days``).
        writes: rows of the score ledger, each with ``finished_at_utc``, ``kind``, ``run_id``, ``inserted``,
            ``updated``, ``unchanged`` and, where known, ``removed`` and ``model_version``; None where the database
            could not be asked.
        freshness: how far each table reaches.
        words: what the problem calls its rows.

    Raises:
        ElvError: a frame lacks a column that the page needs, or a day occurs twice.
    """

    name: str
    currency: str
    timezone: str
    as_of: datetime
    days: pl.DataFrame
    org_id: str = ""
    rows: pl.DataFrame | None = None
    drift: pl.DataFrame | None = None
    performance: pl.DataFrame | None = None
    prevalence: Sequence[Row] = ()
    reconciled: Row | None = None
    calibration: Row | None = None
    models: Sequence[Row] = ()
    audit: Sequence[Row] = ()
    alerts: Sequence[Row] = ()
    held: Record | None = None
    writes: Sequence[Row] | None = ()
    freshness: Sequence[TableAge] = ()
    words: Words = QUALIFIED_LEADS

    def __post_init__(self) -> None:
        """Refuse what could not be shown; half a page would be read as a whole one."""
        if self.as_of.tzinfo is None:
            raise ElvError(f"monitoring page of {self.name}: as_of is {self.as_of}, without a zone; give a UTC moment.")
        _require(self.days, DAYS, what=f"monitoring page of {self.name}: days")
        if self.rows is not None:
            _require(self.rows, ROWS, what=f"monitoring page of {self.name}: rows")
        twice = self.days.filter(pl.col("day").is_duplicated())["day"].sort().to_list()
        if twice:
            raise ElvError(
                f"monitoring page of {self.name}: days holds {twice[0]} more than once; a day has one row. Sum up "
                f"the day's predictions before they are shown."
            )

    @property
    def today(self) -> date:
        """The local day of ``as_of``."""
        return local_day(self.as_of, timezone=self.timezone)

    @property
    def daily(self) -> pl.DataFrame:
        """The days in order; of an unknown count there is nothing to show, and what nobody holds is not held."""
        return self.days.with_columns(pl.col("leads").fill_null(0), pl.col("held").fill_null(False)).sort("day")

    @property
    def newest(self) -> Row | None:
        """The newest day that was scored and is not held back."""
        scored = self.daily.filter(~pl.col("held"))
        return scored.row(-1, named=True) if scored.height else None

    @cached_property
    def usual_leads(self) -> dict[date, Band]:
        """What is usual for each day's leads; a held day's count is no day like others."""
        daily = self.daily
        counts = [None if held else int(leads) for leads, held in daily.select("leads", "held").iter_rows()]
        days = daily["day"].to_list()
        return dict(zip(days, count_bands(days, counts), strict=True))

    def held_days(self) -> list[date]:
        """Days that wait for their inputs: of the table and of the record."""
        recorded = [date.fromisoformat(day) for day, entry in (self.held or {}).items() if entry["status"] == "held"]
        return sorted({*self.daily.filter("held")["day"].to_list(), *recorded})

    def span(self) -> tuple[date, date]:
        """First day and the day after the last one of all that has a time: the axis that the figures share."""
        known = [*self.days["day"].to_list(), *self.held_days()]
        for cohort in self.cohorts("positives"):
            known += [cohort["cohort"], min(cohort["cohort"] + timedelta(days=6), max([self.today, cohort["cohort"]]))]
        first, last = min(known, default=self.today), max(known, default=self.today)
        lacking = 7 - (last - first).days - 1  # a single day would have no scale
        # The mark of the last day needs room: else it sticks out, and that plot becomes narrower than the others.
        room = (last - first).days // 70
        return (first - timedelta(days=max(lacking, 0)), last + timedelta(days=1 + room))

    def open_alerts(self) -> list[Row]:
        """The gravest first, of these what costs most, then the oldest."""
        return sorted(
            self.alerts,
            key=lambda alert: (
                SEVERITIES.index(alert["severity"]),
                -(alert.get("money") or 0.0),
                str(alert.get("since") or ""),
                str(alert["code"]),
                str(alert.get("subject") or ""),
            ),
        )

    def log(self) -> list[Row]:
        """Entries of the champion's log, oldest first."""
        names = ("at", "decision", "candidate_version", "to_version")
        return sorted(self.audit, key=lambda entry: [str(entry.get(name) or "") for name in names])

    def cohorts(self, figure: str) -> list[dict[str, Any]]:
        """Rows of ``performance`` of one figure, by week."""
        if self.performance is None:
            return []
        return self.performance.filter(pl.col("figure") == figure).sort("cohort").to_dicts()

    def calibration_by_cohort(self) -> list[dict[str, Any]]:
        """Observed over expected of every cohort with mature leads, and the band that chance leaves around 1."""
        better = {str(row["cohort"])[:10]: row for row in self.prevalence if row.get("ratio") is not None}
        found = []
        for row in self.cohorts("positives"):
            expected, observed = row["estimated"], row["realised"]
            if not expected or observed is None:
                continue
            own = better.get(str(row["cohort"]), {})
            found.append(
                {
                    **{name: row[name] for name in ("cohort", "complete", "rows", "mature_rows", "model_versions")},
                    "observed": observed,
                    "expected": expected,
                    "ratio": observed / expected,
                    "low": own.get("ratio_low", _over(row["realised_low"], expected)),
                    "high": own.get("ratio_high", _over(row["realised_high"], expected)),
                    "band_low": _over(row["estimated_low"], expected),
                    "band_high": _over(row["estimated_high"], expected),
                }
            )
        return found

    def recent_ratio(self) -> Ratio | None:
        """Observed over expected of the newest complete weeks together."""
        recent = [row for row in self.calibration_by_cohort() if row["complete"]][-RECENT_COHORTS:]
        if not recent:
            return None
        observed, expected = (sum(row[name] for row in recent) for name in ("observed", "expected"))
        errors = [
            None if row["low"] is None or row["high"] is None else (row["high"] - row["low"]) / 2 * row["expected"]
            for row in recent
        ]
        half = None if None in errors else sqrt(sum(cast(float, error) ** 2 for error in errors)) / expected
        ratio = observed / expected
        return Ratio(
            observed=observed,
            expected=expected,
            ratio=ratio,
            low=None if half is None else max(ratio - half, 0.0),
            high=None if half is None else ratio + half,
            cohorts=len(recent),
        )

    def model_spans(self) -> list[ModelSpan]:
        """Which version scored when, oldest first; days without a version interrupt nothing."""
        scored = [row for row in self.daily.iter_rows(named=True) if row["model_version"] is not None]
        spans = []
        for version, group in groupby(scored, key=lambda row: str(row["model_version"])):
            rows = list(group)
            spans.append(
                ModelSpan(
                    version=version,
                    first=rows[0]["day"],
                    until=rows[-1]["day"],
                    days=len(rows),
                    leads=sum(row["leads"] for row in rows),
                )
            )
        return spans

    def newest_drift(self) -> list[dict[str, Any]]:
        """Comparisons of the newest day that has any."""
        if self.drift is None or self.drift.is_empty():
            return []
        return self.drift.filter(pl.col("day") == pl.col("day").max()).to_dicts()


def drift_strength(row: Row) -> float | None:
    """How far a comparison has gone toward its own threshold: 1 is where it is called out."""
    threshold = row.get("threshold")
    distance = row["psi"] if row.get("psi") is not None else row.get("effect")
    if distance is None or not threshold:
        return None
    if row["kind"] == "domain":  # an ROC-AUC, where one half is no difference
        return max(float(distance) - 0.5, 0.0) / max(float(threshold) - 0.5, 1e-9)
    return abs(float(distance)) / float(threshold)


def can_be_called_out(row: Row) -> bool:
    """Whether a comparison could be called out at all, short of an extreme shift."""
    if drift_strength(row) is None:
        return False
    most = {"feature": MOST_SCORE_PSI, "domain": MOST_AUC}.get(row["kind"])
    return most is None or float(row["threshold"]) <= most


def _over(value: float | None, expected: float) -> float | None:
    return None if value is None else value / expected


def _require(frame: pl.DataFrame, schema: Mapping[str, Any], *, what: str) -> None:
    lacking = [name for name in schema if name not in frame.columns]
    if lacking:
        raise ElvError(
            f"{what} lacks {', '.join(lacking)}; it needs {', '.join(schema)}. Give a column of nulls for what is not "
            f"known."
        )
