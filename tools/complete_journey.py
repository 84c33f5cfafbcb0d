"""Write the Complete Journey panel as the six exports of outreach: a real campaign log to try the problem on.

    python tools/complete_journey.py "$COMPLETE_JOURNEY_DIR" "$COMPLETE_JOURNEY_EXPORTS"

Belongs here: what stands for what. Does not belong here: cleaning, features or labels; the exports go through the same
door as anybody's. docs/COMPLETE_JOURNEY.md says what the mapping assumes and what it leaves out.

The data are dates and UTC times of households in the eastern United States; the exports hold UTC throughout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.outreach import OUTCOME_KINDS
from elv_pipeline.errors import ContractError, ElvError
from elv_pipeline.synthetic.files import csv_writer, write_whole

ORG_ID = "complete_journey"
TIMEZONE = "America/New_York"
PANEL_EVE = date(2016, 12, 31)
"""The day before the record of visits and redemptions begins: the standing programme starts there, before
``observed_from`` of the configuration, so that it is in no rate of outcomes either."""
SHOPPING = "shopping"
"""The standing programme that everybody is in, whose only step is answered by coming to a store."""
STANDING_POSITION = 2
"""Place of that step. The configuration makes moments after position 1 alone, so the programme is never scored."""
FILES = {
    "campaign_descriptions": ("campaign_id", "campaign_type", "start_date", "end_date"),
    "campaigns": ("campaign_id", "household_id"),
    "redemptions": ("household_id", "campaign_id", "redemption_date"),
    "transactions_sample": ("household_id", "basket_id", "transaction_timestamp"),
}
"""What is read of each file. Demographics are not: nobody says when they were collected."""
_END_OF_DAY = timedelta(hours=23, minutes=59, seconds=59)


@dataclass(frozen=True)
class Panel:
    """The tables as they lie in the folder: ids are text, dates local, times UTC."""

    campaign_descriptions: pl.DataFrame
    campaigns: pl.DataFrame
    redemptions: pl.DataFrame
    transactions: pl.DataFrame

    @classmethod
    def read(cls, folder: Path) -> Panel:
        """Read ``cj_<table>.csv.gz`` of each table.

        Raises:
            ContractError: a file or a column is missing, a date is none, or a row belongs to no campaign or targeting.
        """
        tables = {name: _read(folder / f"cj_{name}.csv.gz", columns) for name, columns in FILES.items()}
        panel = cls(
            campaign_descriptions=_typed(tables["campaign_descriptions"], "start_date", "end_date"),
            campaigns=tables["campaigns"].unique().sort(pl.all()),
            redemptions=_typed(tables["redemptions"], "redemption_date"),
            transactions=_timed(tables["transactions_sample"], "transaction_timestamp"),
        )
        _require_parents(panel.campaigns, panel.campaign_descriptions, ["campaign_id"], "campaigns")
        _require_parents(panel.redemptions, panel.campaigns, ["household_id", "campaign_id"], "redemptions")
        return panel


def exports(panel: Panel) -> dict[str, pl.DataFrame]:
    """The six tables of ``contracts.outreach.SOURCES``, each in an order of its own."""
    enrolled = _enrollments(panel)
    return {
        "contacts": _contacts(enrolled),
        "campaigns": _campaigns(panel),
        "campaign_steps": _steps(panel),
        "enrollments": enrolled.sort("enrolled_time", "enrollment_id"),
        "engagement_logs": _events(panel, enrolled),
        "outcomes": _outcomes(panel),
    }


def _read(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    if not path.is_file():
        raise ContractError(f"{path}: no such file. Name the folder that holds it.")
    found = pl.read_csv(path, infer_schema=False)
    missing = sorted(set(columns) - set(found.columns))
    if missing:
        raise ContractError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(found.columns)}.")
    empty = found.select(columns).null_count().row(0, named=True)
    if any(empty.values()):
        name = next(name for name, count in empty.items() if count)
        raise ContractError(f"{path}: {name} is empty in {empty[name]} row(s); it must be there. Take the file anew.")
    return found.select(columns)


def _typed(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The distinct rows, with dates in place of text."""
    return _parsed(table, {name: pl.col(name).str.to_date("%Y-%m-%d", strict=False) for name in columns})


def _timed(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """The distinct rows, with a UTC time in place of text."""
    time = pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    return _parsed(table, {column: time.dt.replace_time_zone("UTC")})


def _parsed(table: pl.DataFrame, columns: Mapping[str, pl.Expr]) -> pl.DataFrame:
    found = table.with_columns(**columns)
    for name in columns:
        wrong = table.filter(found[name].is_null())
        if wrong.height:
            raise ContractError(
                f"{name} is {wrong[name][0]!r} in {wrong.height} row(s); it must be a date as 2017-03-31, or a time as "
                f"2017-03-31 18:05:00 where the column is a time. Take the file anew."
            )
    return found.unique().sort(pl.all())


def _require_parents(rows: pl.DataFrame, parents: pl.DataFrame, keys: list[str], name: str) -> None:
    lost = rows.join(parents, on=keys, how="anti")
    if lost.height:
        raise ContractError(
            f"cj_{name}.csv.gz: {lost.height} row(s) have a {' and '.join(keys)} that no other file knows, such as "
            f"{', '.join(map(str, lost.select(keys).row(0)))}. Take all files from one slice."
        )


def _midnight(day: pl.Expr) -> pl.Expr:
    """When a local day begins, in UTC."""
    return day.cast(pl.Datetime("us")).dt.replace_time_zone(TIMEZONE).dt.convert_time_zone("UTC")


def _enrollment_id(campaign: pl.Expr) -> pl.Expr:
    return pl.format("{}-{}", campaign, "household_id")


def _enrollments(panel: Panel) -> pl.DataFrame:
    """A household in a campaign from its first day on, and every one of them in the standing programme."""
    starts = panel.campaign_descriptions.select("campaign_id", "start_date")
    mailed = panel.campaigns.join(starts, on="campaign_id", validate="m:1")
    standing = (
        panel.campaigns.select("household_id")
        .unique()
        .select("household_id", pl.lit(SHOPPING).alias("campaign_id"), pl.lit(PANEL_EVE).alias("start_date"))
    )
    return pl.concat([mailed, standing], how="diagonal").select(
        pl.lit(ORG_ID).alias("org_id"),
        _enrollment_id(pl.col("campaign_id")).alias("enrollment_id"),
        pl.col("household_id").alias("contact_id"),
        "campaign_id",
        _midnight(pl.col("start_date")).alias("enrolled_time"),
    )


def _contacts(enrolled: pl.DataFrame) -> pl.DataFrame:
    """Holders of a loyalty card, which they had when they were first enrolled."""
    return (
        enrolled.group_by("contact_id")
        .agg(pl.col("enrolled_time").min().alias("recorded_time"))
        .select(
            "contact_id",
            pl.lit("loyalty_card").alias("source"),
            pl.lit("customer").alias("qualification_status"),
            "recorded_time",
        )
        .sort("contact_id")
    )


def _campaigns(panel: Panel) -> pl.DataFrame:
    mailed = panel.campaign_descriptions.select(
        "campaign_id",
        pl.format("Mailing {} ({})", "campaign_id", "campaign_type").alias("campaign_name"),
        _midnight(pl.col("start_date")).alias("started_time"),
    )
    standing = pl.select(
        pl.lit(SHOPPING).alias("campaign_id"),
        pl.lit("Shopping (standing programme)").alias("campaign_name"),
        _midnight(pl.lit(PANEL_EVE)).alias("started_time"),
    )
    return pl.concat([mailed, standing]).sort("campaign_id")


def _steps(panel: Panel) -> pl.DataFrame:
    """A mailing is one letter; what it is like is its campaign's type (of A each household has coupons of its own)."""
    mailed = panel.campaign_descriptions.select(
        "campaign_id",
        pl.lit(1).alias("position"),
        pl.col("campaign_type").str.to_lowercase().str.replace_all(" ", "_").alias("template_id"),
    )
    standing = pl.select(
        pl.lit(SHOPPING).alias("campaign_id"),
        pl.lit(STANDING_POSITION).alias("position"),
        pl.lit("standing_offer").alias("template_id"),
    )
    return (
        pl.concat([mailed, standing])
        .select(
            _step_id(pl.col("campaign_id")),
            "campaign_id",
            "position",
            pl.lit("letter").alias("channel"),
            "template_id",
            pl.lit(0.0).alias("wait_days"),
            pl.lit("none").alias("decision_point"),
        )
        .sort("step_id")
    )


def _step_id(campaign: pl.Expr) -> pl.Expr:
    return pl.format("{}-letter", campaign).alias("step_id")


def _events(panel: Panel, enrolled: pl.DataFrame) -> pl.DataFrame:
    """Every letter goes out at enrollment and counts as read then; a visit answers the standing programme.

    What counts as read begins the window of booked_call, so that all three windows begin at enrollment, and that of the
    standing programme lies before the record, too.

    There is no recorded_time: the visits end a month before the redemptions do, and the newest record of events would
    be taken for the end of everything.
    """
    own = ("enrollment_id", "step_id", "event", "event_time")
    letters = enrolled.with_columns(_step_id(pl.col("campaign_id")), pl.col("enrolled_time").alias("event_time"))
    visits = (
        panel.transactions.join(panel.campaigns.select("household_id").unique(), on="household_id", how="semi")
        .select(
            _enrollment_id(pl.lit(SHOPPING)).alias("enrollment_id"),
            _step_id(pl.lit(SHOPPING)),
            pl.lit("replied").alias("event"),
            pl.col("transaction_timestamp").alias("event_time"),
        )
        .unique()  # a visit has a row for each product, and now and then two receipts in one second
    )
    sent_and_read = [letters.with_columns(pl.lit(event).alias("event")).select(own) for event in ("sent", "opened")]
    return pl.concat([*sent_and_read, visits]).sort("event_time", "enrollment_id", "event")


def _outcomes(panel: Panel) -> pl.DataFrame:
    """The first redemption, at the end of its day: it is the one outcome, and stands for each of the three kinds."""
    first = panel.redemptions.group_by("campaign_id", "household_id").agg(pl.col("redemption_date").min())
    end = (pl.col("redemption_date").cast(pl.Datetime("us")) + _END_OF_DAY).dt.replace_time_zone(TIMEZONE)
    return (
        first.join(pl.DataFrame({"outcome": OUTCOME_KINDS}), how="cross")
        .select(
            _enrollment_id(pl.col("campaign_id")).alias("enrollment_id"),
            "outcome",
            end.dt.convert_time_zone("UTC").alias("outcome_time"),
        )
        .sort("outcome_time", "enrollment_id", "outcome")
    )


def write(folder: Path, target: Path) -> dict[str, int]:
    """Write the exports of the panel in ``folder`` as CSV files into ``target``, whole or not at all; rows by table."""
    found = exports(Panel.read(folder))
    target.mkdir(parents=True, exist_ok=True)
    for name, table in found.items():
        write_whole(target / f"{name}.csv", write=csv_writer(table))
    return {name: table.height for name, table in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the folder and write the exports."""
    parser = argparse.ArgumentParser(description="Write the Complete Journey panel as exports of outreach.")
    parser.add_argument("folder", type=Path, help="where cj_campaigns.csv.gz and its neighbours lie")
    parser.add_argument("target", type=Path, help="where the exports go")
    chosen = parser.parse_args(arguments)
    try:
        rows = write(chosen.folder, chosen.target)
    except ElvError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"{chosen.target / name}.csv: {count:,} rows" for name, count in rows.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
