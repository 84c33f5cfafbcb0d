"""No file is parsed twice, a broken one costs nothing, and several files read like one."""

from __future__ import annotations

import os
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import AD_CREATIVES, ADSET_TARGETING, LEADS
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.enrichment import ENRICHMENT_READERS
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.intake import Arrival, Intake
from elv_pipeline.ingest.tables import read_ads, read_leads
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.tables.loads import loads_of
from elv_pipeline_tests.ingest.exports import make_config, write

HEADER = "lead_id,created_time,ad_id\n"


class Counting:
    """A reader that remembers which files it was given."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path | str, config: PipelineConfig) -> Ingested:
        self.read.append(Path(path).name)
        return read_leads(path, config)


def taken(tmp_path: Path, reader: Counting, *, config: PipelineConfig | None = None) -> list[Arrival]:
    chosen = config or make_config(tmp_path)
    return Intake(tmp_path / "intake", chosen).arrivals("leads", str(tmp_path / "leads"), reader=reader)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leads").mkdir()
    for day in ("2025-01-01", "2025-01-02"):
        write(tmp_path / "leads", f"leads_{day}.csv", f"{HEADER}L{day},{day}T10:00:00Z,A1\n")
    return tmp_path / "leads"


def test_a_file_is_parsed_once_and_a_new_one_alone(folder: Path, tmp_path: Path) -> None:
    reader = Counting()
    first = taken(tmp_path, reader)
    assert reader.read == ["leads_2025-01-01.csv", "leads_2025-01-02.csv"]
    write(folder, "leads_2025-01-03.csv", f"{HEADER}L3,2025-01-03T10:00:00Z,A1\n")
    second = taken(tmp_path, reader)
    assert reader.read[2:] == ["leads_2025-01-03.csv"]
    assert [arrival.file for arrival in second[:2]] == [arrival.file for arrival in first]
    assert second[0].ingested().frame.equals(first[0].ingested().frame)
    assert [arrival.span for arrival in second] == [(date(2025, 1, n), date(2025, 1, n)) for n in (1, 2, 3)]


def test_what_is_kept_equals_what_was_read(folder: Path, tmp_path: Path) -> None:
    direct = read_leads(folder / "leads_2025-01-01.csv", make_config(tmp_path))
    [kept, _] = taken(tmp_path, Counting())
    again = kept.ingested()
    assert again.frame.equals(direct.frame)
    assert again.profile == direct.profile
    assert again.source_rows.to_list() == direct.source_rows.to_list()
    assert again.dropped_keys.to_list() == direct.dropped_keys.to_list()
    assert kept.newest_moment == datetime(2025, 1, 1, 10, tzinfo=UTC)


def test_a_changed_file_or_rule_is_parsed_again_and_the_old_rows_are_forgotten(folder: Path, tmp_path: Path) -> None:
    reader = Counting()
    taken(tmp_path, reader)
    write(folder, "leads_2025-01-01.csv", f"{HEADER}L9,2025-01-01T10:00:00Z,A1\nL8,2025-01-01T11:00:00Z,A1\n")
    changed = taken(tmp_path, reader)
    assert reader.read[2:] == ["leads_2025-01-01.csv"]
    assert changed[0].profile.rows == 2
    assert len(list((tmp_path / "intake/leads").glob("*.parquet"))) == 2
    other = make_config(tmp_path, timezone="Asia/Tokyo")
    taken(tmp_path, reader, config=other)
    assert reader.read[3:] == ["leads_2025-01-01.csv", "leads_2025-01-02.csv"]


def test_a_broken_file_keeps_what_was_parsed_before_it(folder: Path, tmp_path: Path) -> None:
    reader = Counting()
    write(folder, "leads_2025-01-03.csv", f"{HEADER},2025-01-03T10:00:00Z,A1\n")
    with pytest.raises(ContractError, match=r"leads_2025-01-03\.csv row 2: lead_id is empty"):
        taken(tmp_path, reader)
    write(folder, "leads_2025-01-03.csv", f"{HEADER}L3,2025-01-03T10:00:00Z,A1\n")
    assert len(taken(tmp_path, reader)) == 3
    assert reader.read[3:] == ["leads_2025-01-03.csv"]


def test_the_name_tells_when_figures_were_exported_else_the_first_sight(folder: Path, tmp_path: Path) -> None:
    write(folder, "latest.csv", f"{HEADER}L3,2025-01-03T10:00:00Z,A1\n")
    before = datetime.now(UTC)
    found = {arrival.file: arrival.recorded_time for arrival in taken(tmp_path, Counting())}
    assert found["leads_2025-01-01.csv"] == datetime(2025, 1, 2, tzinfo=UTC)
    assert found["latest.csv"] >= before
    assert {arrival.file: arrival.recorded_time for arrival in taken(tmp_path, Counting())} == found


def test_a_folder_reads_like_one_export_and_the_last_file_has_the_last_word(folder: Path, tmp_path: Path) -> None:
    write(folder, "leads_2025-01-03.csv", f"{HEADER}L2025-01-02,2025-01-02T10:00:00Z,A7\nL3,2025-01-03T10:00:00Z,A1\n")
    config = make_config(tmp_path)
    intake = Intake(tmp_path / "intake", config)
    whole = intake.table("leads", str(folder), reader=read_leads, contract=LEADS)
    assert whole.frame.select("lead_id", "ad_id").rows() == [("L2025-01-01", "A1"), ("L2025-01-02", "A7"), ("L3", "A1")]
    assert whole.profile.file == "leads (3 files)"
    assert (whole.profile.rows_read, whole.profile.rows) == (4, 3)
    assert whole.profile.notes == {"repeated_in_a_later_file": 1}
    assert (whole.profile.first_day, whole.profile.last_day) == (date(2025, 1, 1), date(2025, 1, 3))


def test_the_kept_rows_hold_no_column_that_the_contract_leaves_out(folder: Path, tmp_path: Path) -> None:
    text = "lead_id,created_time,ad_id,email\nL5,2025-01-05T10:00:00Z,A1,someone@example.org\n"
    write(folder, "leads_2025-01-05.csv", text)
    taken(tmp_path, Counting())
    for file in (tmp_path / "intake/leads").rglob("*"):
        assert b"example.org" not in file.read_bytes()
    rows = pl.read_parquet(sorted((tmp_path / "intake/leads").glob("*.parquet"))[0])
    assert set(rows.columns) == {*LEADS.names, "source_row"}


def test_when_figures_were_exported_is_known_without_looking_into_old_files(tmp_path: Path) -> None:
    (tmp_path / "ads").mkdir()
    header, ids = "date,campaign_id,adset_id,ad_id,impressions,clicks,spend", "C,S,A,10,1,1.50"
    write(tmp_path / "ads", "ads_2025-01-02.csv", f"{header}\n2025-01-01,{ids}\n")
    stamped = [f"2025-01-{day:02d},{ids},2025-01-{moment:02d}T06:00:00Z" for day, moment in ((1, 4), (2, 4), (2, 5))]
    write(tmp_path / "ads", "history_2025-01-06.csv", "\n".join([f"{header},recorded_time", *stamped, ""]))
    intake = Intake(tmp_path / "intake", make_config(tmp_path))
    intake.arrivals("ads", str(tmp_path / "ads"), reader=read_ads)
    for file in (tmp_path / "intake/ads").glob("*.parquet"):
        file.write_bytes(b"")
    found = loads_of(intake.arrivals("ads", str(tmp_path / "ads"), reader=read_ads))
    parts = [(load.recorded_time.day, part) for load in found for part in load.parts]
    assert [(moment, part.first_day.day, part.last_day.day) for moment, part in parts] == [
        *((3, 1, 1), (4, 1, 2), (5, 2, 2)),
    ]


def test_the_same_bytes_were_first_seen_when_they_came_however_often_they_are_parsed(tmp_path: Path) -> None:
    """A correction that arrived later keeps the last word: over files copied anew, other rules and other programs."""
    folder = tmp_path / "leads"
    folder.mkdir()
    config = make_config(tmp_path)

    def ad_of_the_lead(**keys: str) -> str:
        intake = Intake(tmp_path / "intake", config.model_copy(update=keys))
        return str(intake.table("leads", str(folder), reader=read_leads, contract=LEADS).frame["ad_id"][0])

    old = write(folder, "leads_old.csv", f"{HEADER}L1,2025-01-02T10:00:00Z,WRONG\n")
    assert ad_of_the_lead() == "WRONG"
    write(folder, "leads_corrected.csv", f"{HEADER}L1,2025-01-02T10:00:00Z,RIGHT\n")
    assert ad_of_the_lead() == "RIGHT"
    os.utime(old, (1, 1))
    assert ad_of_the_lead() == "RIGHT"
    assert ad_of_the_lead(currency="USD") == "RIGHT"
    old.rename(folder / "leads_of_old.csv")
    assert ad_of_the_lead() == "RIGHT"
    write(folder, "leads_of_old.csv", f"{HEADER}L1,2025-01-02T10:00:00Z,NEWEST\n")
    assert ad_of_the_lead() == "NEWEST"


def test_runs_that_parse_the_same_file_at_once_do_not_collide(tmp_path: Path) -> None:
    (tmp_path / "leads").mkdir()
    write(tmp_path / "leads", "leads.csv", HEADER + "".join(f"L{n},2025-01-02T10:00:00Z,A\n" for n in range(3_000)))
    errors: list[BaseException] = []
    together = threading.Barrier(4)

    def parse_at_once(path: Path | str, config: PipelineConfig) -> Ingested:
        ingested = read_leads(path, config)
        together.wait()
        return ingested

    def run() -> None:
        try:
            found = Intake(tmp_path / "intake", config).arrivals("leads", str(tmp_path / "leads"), reader=parse_at_once)
            assert found[0].ingested().frame.height == 3_000
        except BaseException as error:
            errors.append(error)

    config = make_config(tmp_path)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(file.suffix for file in (tmp_path / "intake/leads").iterdir()) == [".json", ".parquet"]


def test_properties_of_a_later_file_are_known_from_its_export_on(tmp_path: Path) -> None:
    folder, table = tmp_path / "targeting", "adset_targeting"
    folder.mkdir()
    header = "adset_id,audience_keywords\n"
    write(folder, "a_2025-04-01.csv", f"{header}S1,solar\nS2,roofs\n")
    write(folder, "b_2025-05-01.csv", f"{header}S1,solar\nS2,\nS3,new\n")
    write(folder, "c_2025-06-01.csv", f"{header}S1,batteries\nS2,\nS3,new\n")
    write(folder, "d_2025-07-01.csv", f"{header}S1,solar\nS3,newer\n")
    intake = Intake(tmp_path / "intake", make_config(tmp_path))
    found = intake.table(table, str(folder), reader=ENRICHMENT_READERS[table], contract=ADSET_TARGETING)
    months = found.frame.select("adset_id", "audience_keywords", pl.col("recorded_at").dt.month())
    assert months.rows() == [
        # The first file with an ad set says what held always: there is no older version.
        ("S1", "solar", None),
        ("S1", "batteries", 6),
        ("S1", "solar", 7),
        ("S2", "roofs", None),
        ("S2", None, 5),
        ("S3", "new", None),
        ("S3", "newer", 7),
    ]
    assert found.profile.notes == {"repeated_in_a_later_file": 3}


def test_times_that_a_later_file_gives_itself_stand(tmp_path: Path) -> None:
    folder, table = tmp_path / "creatives", "ad_creatives"
    folder.mkdir()
    header = "ad_id,creative_type,valid_from,recorded_at\n"
    write(folder, "a_2025-04-01.csv", f"{header}A1,image,,\n")
    write(
        folder,
        "b_2025-06-01.csv",
        f"{header}A1,video,2025-05-01T00:00:00Z,2025-05-03T00:00:00Z\nA1,image,2025-05-20T00:00:00Z,\n",
    )
    intake = Intake(tmp_path / "intake", make_config(tmp_path))
    found = intake.table(table, str(folder), reader=ENRICHMENT_READERS[table], contract=AD_CREATIVES).frame
    times = found.select("creative_type", pl.col("recorded_at").dt.strftime("%m-%d"))
    assert times.rows() == [("image", None), ("video", "05-03"), ("image", "06-02")]
