"""Several files of one table of outreach: which rows stand, and from when a changed one is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.ingest.outreach_exports import OutreachSources, read_outreach
from elv_pipeline_tests.ingest.outreach_exports import at, clean_sources
from elv_pipeline_tests.ingest.test_outreach_exports import configured, written

CONTACTS = "contact_id,source,qualification_status,region\n"


def read_folder(folder: Path, table: str, **files: str) -> OutreachSources:
    """The small organisation with one table as a folder of files; ``_`` in a name is a dash."""
    place = folder / table
    place.mkdir()
    for name, content in files.items():
        (place / f"{name.replace('_', '-')}.csv").write_text(content, encoding="utf-8")
    return read_outreach(configured(folder, {**written(folder), f"{table}_path": table}))


def test_a_row_that_a_later_export_repeats_counts_once_and_no_rule_is_broken(tmp_path: Path) -> None:
    whole = clean_sources()["engagement_logs"]
    first, second = (
        part.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ") for part in (whole.head(200), whole.tail(200))
    )
    found = read_folder(tmp_path, "engagement_logs", log_2025_03_10=first, log_2025_03_20=second)
    assert found.tables["engagement_logs"].height == whole.height
    assert found.files["engagement_logs"].notes == {"repeated_in_a_later_file": 130}
    assert found.files["engagement_logs"].file == "engagement_logs (2 files)"
    assert clean_outreach(found.tables, known_until=at(400)).gate.findings == ()


def test_the_later_export_tells_that_an_outcome_was_withdrawn(tmp_path: Path) -> None:
    header = "enrollment_id,outcome,outcome_time,recorded_time,withdrawn_time\n"
    row = "E000,booked_call,2025-03-07T00:00:00Z,2025-03-07T01:00:00Z"
    files = {"o_2025_03_08": f"{header}{row},\n", "o_2025_03_09": f"{header}{row},2025-03-08T12:00:00Z\n"}
    found = read_folder(tmp_path, "outcomes", **files).tables["outcomes"]
    assert found["withdrawn_time"].to_list() == [datetime(2025, 3, 8, 12, tzinfo=UTC)]


def test_what_one_export_repeats_by_itself_is_left_to_the_clean_stage(tmp_path: Path) -> None:
    rows = clean_sources()["engagement_logs"]
    twice = pl.concat([rows, rows.head(3)]).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
    earlier = rows.head(10).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
    found = read_folder(tmp_path, "engagement_logs", log_2025_03_10=earlier, log_2025_03_20=twice)
    (finding,) = clean_outreach(found.tables, known_until=at(400)).gate.findings
    assert (finding.code, finding.rows) == ("exact_duplicate", 3)


def test_what_a_later_export_says_of_a_contact_is_known_from_that_export_on(tmp_path: Path) -> None:
    """Planted: the contact that moved to Hessen, of which an enrollment before the second export cannot know."""
    rest = "".join(f"C{n:03},webinar,marketing,Bayern\n" for n in range(2, 120))
    found = read_folder(
        tmp_path,
        "contacts",
        c_2025_03_01=f"{CONTACTS}C000,webinar,marketing,Bayern\nC001,webinar,marketing,Bayern\n{rest}",
        c_2025_03_10=f"{CONTACTS}C000,webinar,marketing,Hessen\nC001,webinar,marketing,Bayern\n{rest}",
        c_2025_03_11=f"{CONTACTS}C000,webinar,marketing,Hessen\nC001,webinar,marketing,Bayern\n{rest}",
        c_2025_03_12=f"{CONTACTS}C000,webinar,marketing,Bayern\nC001,webinar,marketing,Bayern\n{rest}",
    )
    contacts = found.tables["contacts"]
    assert contacts.height == 122
    moved = contacts.filter(pl.col("contact_id") == "C000").sort("recorded_time", nulls_last=False)
    assert moved.select("region", "recorded_time").rows() == [
        ("Bayern", None),
        ("Hessen", datetime(2025, 3, 11, tzinfo=UTC)),
        ("Bayern", datetime(2025, 3, 13, tzinfo=UTC)),
    ]
    assert found.files["contacts"].notes["versions_known_from_their_export"] == 2
    cleaned = clean_outreach(found.tables, known_until=at(400)).tables["contacts"]
    dated = cleaned.filter(pl.col("contact_id") == "C000").select("recorded_time", "qualification_status").rows()
    assert [status for _, status in dated] == [None, "marketing", "marketing"]


def test_without_dates_in_their_names_the_last_file_by_name_stands(tmp_path: Path) -> None:
    rest = "".join(f"C{n:03},webinar,marketing,Bayern\n" for n in range(1, 120))
    a, b = (f"{CONTACTS}C000,webinar,marketing,{region}\n{rest}" for region in ("Bayern", "Hessen"))
    contacts = read_folder(tmp_path, "contacts", a=a, b=b).tables["contacts"]
    assert contacts.filter(pl.col("contact_id") == "C000").select("region", "recorded_time").rows() == [
        ("Hessen", None)
    ]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_columns_that_one_file_lacks_are_empty_in_its_rows(order: tuple[str, str], tmp_path: Path) -> None:
    names = dict(zip(order, ("campaign_id,campaign_name\nK1,Spring\n", None), strict=True))
    files = {
        key: value or "campaign_id,campaign_name,started_time\nK2,Autumn,2025-01-01\n" for key, value in names.items()
    }
    found = read_folder(tmp_path, "campaigns", **files).tables["campaigns"].sort("campaign_id")
    assert found["started_time"].to_list() == [None, datetime(2025, 1, 1, tzinfo=UTC)]
