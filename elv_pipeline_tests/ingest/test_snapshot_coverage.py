"""What a snapshot covers counts, with rows or without; what a later one lacks is gone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from elv_pipeline.contracts.lead_ads import LEAD_TO_AD_MAP, LEADS, OUTCOMES
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.extracts.extract import ExtractWindow, extract
from elv_pipeline.ingest.extracts.standing import joined, standing_of
from elv_pipeline.ingest.intake import Arrival, Intake, combined_of
from elv_pipeline.ingest.sources import READERS, examine
from elv_pipeline.ingest.tables import read_ads, read_leads, read_outcomes
from elv_pipeline.orchestration.exports_at_hand import ExportAtHand
from elv_pipeline_tests.ingest.crm import Crm, example, query, window
from elv_pipeline_tests.ingest.exports import make_config, write

MARCH = [date(2025, 3, day) for day in range(1, 32)]


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def intake(folder: Path) -> Intake:
    return Intake(folder / "intake", make_config(folder, timezone="Europe/Berlin"))


def taken(crm: Crm, table: str) -> list[Arrival]:
    folder = crm.folder.parent
    return intake(folder).arrivals(table, str(crm.folder / table), reader=READERS[table])


def take(crm: Crm, table: str, of: ExtractWindow) -> None:
    extract(table, example(table), source=crm.source(), window=of, folder=crm.folder)


@pytest.mark.parametrize("table", ["leads", "ads", "outcomes"])
def test_a_quiet_window_is_covered_by_a_snapshot_without_rows(crm: Crm, table: str) -> None:
    take(crm, table, window("2025-03-10", "2025-03-12", at="2025-03-12T06:00:00Z"))
    [arrival] = taken(crm, table)
    assert arrival.profile.rows == 0
    assert arrival.span is None
    assert arrival.spoken_for == (date(2025, 3, 10), date(2025, 3, 11))
    assert arrival.newest_moment == datetime(2025, 3, 11, 23, tzinfo=UTC)
    export = ExportAtHand(table, table, (arrival,))
    assert export.last_day == date(2025, 3, 11)
    assert export.of_days([date(2025, 3, 10)]).frame.is_empty()


def test_an_export_without_rows_that_is_no_snapshot_is_still_a_mistake(crm: Crm, tmp_path: Path) -> None:
    write(tmp_path, "leads_2025-03-10.csv", "lead_id,created_time,ad_id\n")
    config = make_config(tmp_path)
    with pytest.raises(ContractError, match="no rows"):
        read_leads(tmp_path / "leads_2025-03-10.csv", config)
    write(tmp_path, "ads_2025-03-10.csv", "date,campaign_id,adset_id,ad_id,impressions,clicks,spend\n")
    with pytest.raises(ContractError, match="no rows"):
        read_ads(tmp_path / "ads_2025-03-10.csv", config)


def test_coverage_reaches_from_the_first_whole_day_to_what_is_over(crm: Crm) -> None:
    take(crm, "leads", window("2025-03-01T09:00", "2025-03-09T15:00", at="2025-03-08T12:00:00Z"))
    [arrival] = taken(crm, "leads")
    assert arrival.span == (date(2025, 3, 1), date(2025, 3, 4))
    assert arrival.spoken_for == (date(2025, 3, 2), date(2025, 3, 7))
    assert arrival.overlaps(date(2025, 3, 1), date(2025, 3, 1))  # its rows of the day that the window cuts are used
    assert arrival.newest_moment == datetime(2025, 3, 8, 12, tzinfo=UTC)


def test_a_day_that_goes_on_counts_as_far_as_it_has_rows(crm: Crm) -> None:
    take(crm, "leads", window("2025-03-01", "2025-03-05", at="2025-03-04T22:59:59Z"))
    [arrival] = taken(crm, "leads")
    assert arrival.covered == (date(2025, 3, 1), date(2025, 3, 3))
    assert arrival.spoken_for == (date(2025, 3, 1), date(2025, 3, 4))


def test_the_days_of_a_clock_change_are_whole_days(crm: Crm) -> None:
    take(crm, "leads", window("2025-03-29", "2025-03-31", at="2025-03-31T06:00:00Z"))
    [arrival] = taken(crm, "leads")
    assert arrival.covered == (date(2025, 3, 29), date(2025, 3, 30))


def test_other_exports_speak_for_their_rows_as_ever(tmp_path: Path) -> None:
    (tmp_path / "leads").mkdir()
    write(tmp_path / "leads", "leads_2025-03-05.csv", "lead_id,created_time,ad_id\nL1,2025-03-02T10:00:00Z,A1\n")
    [arrival] = intake(tmp_path).arrivals("leads", str(tmp_path / "leads"), reader=read_leads)
    assert arrival.spoken_for == arrival.span == (date(2025, 3, 2), date(2025, 3, 2))
    assert (arrival.covered, arrival.query) == (None, None)
    assert arrival.newest_moment == datetime(2025, 3, 2, 10, tzinfo=UTC)


def test_outcomes_count_as_observed_until_the_end_of_the_window(crm: Crm, tmp_path: Path) -> None:
    for table in ("leads", "outcomes"):
        take(crm, table, window("2025-03-01", "2025-03-21", at="2025-03-21T06:00:00Z"))
    paths = {f"{table}_path": str(crm.folder / table) for table in ("leads", "outcomes")}
    config = make_config(tmp_path, timezone="Europe/Berlin", paths=paths)
    kept = Intake(tmp_path / "intake", config)
    found = examine(config, readers=kept.readers(READERS, {"leads": LEADS, "outcomes": OUTCOMES})).required()
    assert found.observed_until == datetime(2025, 3, 20, 23, tzinfo=UTC)
    assert found.last_day == date(2025, 3, 20)
    assert found.first_day == date(2025, 3, 1)


def test_leads_of_which_there_is_none_at_all_are_refused(crm: Crm, tmp_path: Path) -> None:
    take(crm, "leads", window("2025-04-01", "2025-04-03", at="2025-04-03T06:00:00Z"))
    config = make_config(tmp_path, paths={"leads_path": str(crm.folder / "leads")})
    assert "at least one lead is needed" in examine(config).message


def test_what_a_later_snapshot_of_the_same_query_lacks_is_gone(crm: Crm) -> None:
    take(crm, "leads", window())
    take(crm, "outcomes", window())
    crm.run("DELETE FROM leads WHERE id = 'L2'")
    crm.run("DELETE FROM lead_status_history")
    later = window("2025-03-02", "2025-03-07", at="2025-03-07T06:00:00Z")
    for table in ("leads", "outcomes"):
        take(crm, table, later)
    leads, outcomes = taken(crm, "leads"), taken(crm, "outcomes")
    assert combined_of(leads, contract=LEADS, name="leads").frame["lead_id"].to_list() == ["L1", "L3"]
    assert combined_of(outcomes, contract=OUTCOMES, name="outcomes").frame.is_empty()
    export = ExportAtHand("outcomes", "outcomes", tuple(outcomes))
    assert export.of_days([date(2025, 3, 3)]).frame.is_empty()
    assert export.select(["lead_id"]).collect().is_empty()


def test_a_day_that_the_later_window_cuts_keeps_the_rows_of_the_older_snapshot(crm: Crm) -> None:
    take(crm, "leads", window())
    take(crm, "leads", window("2025-03-01T12:00", "2025-03-07", at="2025-03-07T06:00:00Z"))
    rows = combined_of(taken(crm, "leads"), contract=LEADS, name="leads").frame
    assert rows["lead_id"].to_list() == ["L1", "L2", "L3"]


def test_an_edited_query_has_the_last_word_on_the_days_that_it_reads_and_on_no_others(crm: Crm, tmp_path: Path) -> None:
    take(crm, "leads", window())
    edited = query(tmp_path, example("leads").sql + "  AND l.id = 'L3'\n")
    later = window("2025-03-02", at="2025-03-07T06:00:00Z")
    extract("leads", edited, source=crm.source(), window=later, folder=crm.folder)
    rows = combined_of(taken(crm, "leads"), contract=LEADS, name="leads").frame
    assert rows["lead_id"].to_list() == ["L1", "L3"]
    extract("leads", edited, source=crm.source(), window=window(at="2025-03-08T06:00:00Z"), folder=crm.folder)
    rows = combined_of(taken(crm, "leads"), contract=LEADS, name="leads").frame
    assert rows["lead_id"].to_list() == ["L3"]


def test_an_outcome_that_an_edited_query_places_on_another_day_is_one_outcome(crm: Crm, tmp_path: Path) -> None:
    take(crm, "outcomes", window())
    by_change = query(tmp_path, example("outcomes").sql.replace("inserted_at", "changed_at"))
    later = window("2025-03-01", "2025-03-07", at="2025-03-07T06:00:00Z")
    extract("outcomes", by_change, source=crm.source(), window=later, folder=crm.folder)
    export = ExportAtHand("outcomes", "outcomes", tuple(taken(crm, "outcomes")))
    assert export.of_days([date(2025, 3, 3)]).frame.is_empty()
    assert export.of_days([date(2025, 3, 2)]).frame["lead_id"].to_list() == ["L1"]


def test_a_map_keeps_what_its_own_query_said_and_nothing_of_an_earlier_one(crm: Crm, tmp_path: Path) -> None:
    def mapped() -> list[str]:
        rows = combined_of(taken(crm, "lead_to_ad_map"), contract=LEAD_TO_AD_MAP, name="map").frame
        return rows["lead_id"].to_list()

    crm.add("lead_attribution", [("L2", "12", "S", "C")])
    take(crm, "lead_to_ad_map", window())
    crm.run("DELETE FROM lead_attribution WHERE lead_id = 'L1'")
    crm.add("lead_attribution", [("L3", "12", "S", "C")])
    take(crm, "lead_to_ad_map", window(at="2025-03-07T06:00:00Z"))
    assert mapped() == ["L1", "L2", "L3"]
    sql = f"SELECT * FROM ({example('lead_to_ad_map').sql}) AS q WHERE lead_id = 'L3'"
    short = window("2025-03-02", at="2025-03-08T06:00:00Z")
    extract("lead_to_ad_map", query(tmp_path, sql), source=crm.source(), window=short, folder=crm.folder)
    assert mapped() == ["L1", "L2", "L3"]
    whole = window(at="2025-03-09T06:00:00Z")
    extract("lead_to_ad_map", query(tmp_path, sql), source=crm.source(), window=whole, folder=crm.folder)
    assert mapped() == ["L3"]


def test_the_same_rows_by_another_query_are_a_snapshot_of_their_own(crm: Crm, tmp_path: Path) -> None:
    take(crm, "leads", window())
    same = query(tmp_path, example("leads").sql + " -- checked with sales\n")
    found = extract("leads", same, source=crm.source(), window=window(), folder=crm.folder)
    assert (found.unchanged, found.manifest.query_sha256) == (False, same.sha256)
    assert extract("leads", same, source=crm.source(), window=window(), folder=crm.folder).unchanged


def test_a_day_opens_no_snapshot_that_a_newer_one_replaces(crm: Crm) -> None:
    for day in range(6, 16):
        crm.add("leads", [(f"N{day}", f"2025-03-{day:02d}T10:00:00Z", "11", None, None, None, None, 0)])
        take(crm, "leads", window("2025-03-01", f"2025-03-{day + 1:02d}", at=f"2025-03-{day + 1:02d}T06:00:00Z"))
    arrivals = taken(crm, "leads")
    assert len(arrivals) == 10
    assert [arrival.file for arrival, _ in standing_of(arrivals)] == [arrivals[-1].file]
    export = ExportAtHand("leads", "leads", tuple(arrivals))
    assert export.of_days([date(2025, 3, 10)]).frame["lead_id"].to_list() == ["N10"]


def test_delivery_stands_in_every_version(crm: Crm) -> None:
    take(crm, "ads", window())
    crm.run("UPDATE ad_daily_stats SET link_clicks = link_clicks + 1")
    take(crm, "ads", window(at="2025-03-07T06:00:00Z"))
    arrivals = taken(crm, "ads")
    assert len(standing_of(arrivals)) == 2
    assert [arrival.recorded_time for arrival in arrivals] == [
        datetime(2025, 3, 6, 6, tzinfo=UTC),
        datetime(2025, 3, 7, 6, tzinfo=UTC),
    ]


def test_neighbouring_days_are_joined() -> None:
    first, second, third, fourth = MARCH[0], MARCH[1], MARCH[2], MARCH[4]
    assert joined([(third, third), (first, second)]) == ((first, third),)
    assert joined([(first, first), (fourth, fourth)]) == ((first, first), (fourth, fourth))
    assert joined([]) == ()


def test_a_quiet_first_day_still_reads_as_an_outcomes_export(crm: Crm, tmp_path: Path) -> None:
    take(crm, "outcomes", window("2025-03-10", "2025-03-12", at="2025-03-12T06:00:00Z"))
    assert read_outcomes(crm.folder / "outcomes", make_config(tmp_path)).frame.is_empty()
