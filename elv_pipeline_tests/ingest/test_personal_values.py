"""E-mail addresses and phone numbers do not pass the door of an export or an extract, in whichever column they come."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import ADS_SOURCE, LEADS_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.combined import combined
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.extracts.extract import extract, extract_all
from elv_pipeline.ingest.intake import Intake
from elv_pipeline.ingest.personal_values import PersonalValues
from elv_pipeline.ingest.review.data_checks import data_checks
from elv_pipeline.ingest.review.findings import Finding, findings
from elv_pipeline.ingest.review.profile import profile_markdown, profile_of
from elv_pipeline.ingest.sources import examine
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline_tests.ingest.crm import Crm, example, query, window
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write

MAIL, PHONE = "jane.secret@example.org", "+49 170 5550123"
HEADER = "lead_id,created_time,ad_id,ad_name,platform\n"


def lead_rows(*cells: tuple[str, str], ad: str = "A1") -> str:
    lines = [
        f"L{number},2025-01-02T10:0{number}:00Z,{ad},{name},{platform}" for number, (name, platform) in enumerate(cells)
    ]
    return HEADER + "\n".join(lines) + "\n"


def found(folder: Path, code: str) -> list[Finding]:
    config = make_config(folder)
    return [each for each in findings(examine(config).required(), config) if each.code == code]


def bytes_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_an_address_in_an_allowed_column_is_emptied_counted_and_told_of(tmp_path: Path) -> None:
    rows = lead_rows(("Ad", "fb"), ("Ad", MAIL), ("Ad", "ig"), (f"Ad {PHONE}", "fb"), ("Ad", PHONE), ("Ad", "fb"))
    write(tmp_path, "leads.csv", rows)
    config = make_config(tmp_path)
    leads = read_leads(config.paths.leads_path, config)
    assert leads.frame["platform"].to_list() == ["fb", None, "ig", "fb", None, "fb"]
    assert leads.frame["ad_name"].to_list() == ["Ad", "Ad", "Ad", None, "Ad", "Ad"]
    of = {"became": "emptied", "of": 6, "file": "leads.csv"}
    assert leads.profile.personal == (
        PersonalValues(column="ad_name", rows=1, first_row=5, **of),
        PersonalValues(column="platform", rows=2, first_row=3, **of),
    )
    name, platform = found(tmp_path, "personal_values")
    assert platform.message == (
        "leads.csv: 2 of 6 values of platform are or contain an e-mail address or a phone number (the first in row 3); "
        "they were left empty."
    )
    assert platform.remedy.startswith("Correct the leads export or its query: platform must not hold")
    assert (platform.severity, platform.check, platform.leads) == ("warning", "personal_data", 2)
    assert "ad_name" in name.message


def test_a_column_of_mostly_addresses_is_left_out_with_what_stands_beside_them(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", lead_rows(("Ad", MAIL), ("Ad", "Jane Secret"), ("Ad", "x@example.org"), ("Ad", "")))
    config = make_config(tmp_path)
    leads = read_leads(config.paths.leads_path, config)
    assert leads.frame["platform"].null_count() == 4
    [one] = leads.profile.personal
    assert (one.column, one.became, one.rows, one.of) == ("platform", "left_out", 2, 3)
    [finding] = found(tmp_path, "personal_values")
    assert "more than half of them; the whole column was left empty." in finding.message


def test_exactly_half_is_not_more_than_half(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", lead_rows(("Ad", MAIL), ("Ad", "fb")))
    config = make_config(tmp_path)
    assert read_leads(config.paths.leads_path, config).frame["platform"].to_list() == [None, "fb"]


def test_no_value_is_told_anywhere(tmp_path: Path) -> None:
    write(tmp_path, "ads.csv", ADS.replace(",Ad,", f",Ad {PHONE},", 1))
    write(tmp_path, "leads.csv", lead_rows(("Ad", MAIL), ("Ad", "fb"), ("Ad", "fb")))
    write(tmp_path, "outcomes.csv", OUTCOMES.replace("L1", "L0"))
    config = make_config(tmp_path)
    document = profile_of(examine(config), config)
    text = profile_markdown(document) + repr(document)
    assert "platform are or contain" in text
    for secret in (MAIL, PHONE, "secret", "5550123"):
        assert secret not in text
    assert document["tables"]["leads"]["personal_values"][0]["rows"] == 1
    check = next(check for check in data_checks(document) if check.name == "personal_data")
    assert (check.passed, check.severity) == (False, "warning")


def test_daily_figures_are_looked_at_by_value(tmp_path: Path) -> None:
    write(tmp_path, "ads.csv", ADS.replace("C1,One", f"C1,One {MAIL}"))
    write(tmp_path, "leads.csv", LEADS)
    config = make_config(tmp_path)
    opened = open_export(config.paths.ads_path, config=config, source=ADS_SOURCE)
    assert opened.frame["campaign_name"].dtype == pl.Categorical
    assert opened.frame["campaign_name"].null_count() == 3
    assert opened.frame["ad_name"].to_list() == ["Ad"] * 3
    assert [(one.column, one.rows, one.first_row) for one in opened.personal] == [("campaign_name", 3, 2)]


def test_an_id_that_a_lead_can_do_without_is_emptied_and_one_that_it_is_known_by_stays(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", lead_rows(("Ad", "fb"), ad=MAIL).replace("L0", "jane@example.org"))
    config = make_config(tmp_path)
    leads = read_leads(config.paths.leads_path, config)
    assert leads.frame["ad_id"].to_list() == [None]
    assert leads.frame["lead_id"].to_list() == ["jane@example.org"]
    [finding] = found(tmp_path, "personal_lead_id")
    assert "privacy.hashed_columns: [lead_id]" in finding.remedy


def test_an_id_that_the_ads_export_needs_stays_and_is_told_of(tmp_path: Path) -> None:
    write(tmp_path, "ads.csv", ADS.replace("A2", MAIL))
    write(tmp_path, "leads.csv", LEADS)
    assert examine(make_config(tmp_path)).required().ads.frame["ad_id"].to_list()[1] == MAIL  # type: ignore[union-attr]
    [finding] = found(tmp_path, "personal_values")
    assert "values of ad_id are or contain" in finding.message
    assert "ids are written to every output" in finding.message
    assert MAIL not in finding.message


def test_hashed_ids_are_nobodys_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", "test-key-" + "k" * 40)
    write(tmp_path, "leads.csv", lead_rows(("Ad", "fb"), ad=MAIL))
    config = make_config(tmp_path, privacy={"hashed_columns": ["lead_id", "ad_id"]})
    leads = read_leads(config.paths.leads_path, config)
    assert leads.profile.personal == ()
    assert leads.frame["ad_id"].null_count() == 0


def test_a_text_that_every_row_needs_is_refused_without_being_shown(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "geo.csv", f"date,ad_id,geo,impressions,clicks,spend\n2025-01-01,A1,{MAIL},1,0,0\n")
    config = make_config(tmp_path)
    config = config.model_copy(
        update={"paths": config.paths.model_copy(update={"ads_geo_path": str(tmp_path / "geo.csv")})}
    )
    with pytest.raises(ContractError, match=r"geo\.csv row 2: geo is or contains an e-mail address") as refused:
        examine(config).required()
    assert "secret" not in str(refused.value)


def test_of_several_files_the_newest_is_told_of_and_the_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "leads").mkdir()
    texts = {"1": MAIL, "2": MAIL, "3": "fb"}
    for day, platform in texts.items():
        rows = lead_rows(("Ad", platform), ("Ad", "fb"), ("Ad", "ig")).replace(",2025-01-02", f",2025-01-0{day}")
        write(tmp_path / "leads", f"leads_2025-01-0{day}.csv", rows.replace("\nL", f"\nL{day}"))
    config = make_config(tmp_path)
    parts = [read_leads(file, config) for file in sorted((tmp_path / "leads").iterdir())]
    moments = [part.frame["created_time"].max() for part in parts]
    whole = combined(parts, contract=read_contract(), name="leads", exported=moments)  # type: ignore[arg-type]
    [one] = whole.profile.personal
    assert (one.file, one.rows, one.files) == ("leads_2025-01-02.csv", 1, 2)
    opened = open_export(tmp_path / "leads", config=config, source=LEADS_SOURCE)
    assert [(each.file, each.files) for each in opened.personal] == [("leads_2025-01-02.csv", 2)]


def read_contract() -> object:
    from elv_pipeline.contracts.lead_ads import LEADS as CONTRACT

    return CONTRACT


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def spoil(crm: Crm, *, mails: int, others: int) -> None:
    """Leads whose platform is an address, or else a name."""
    crm.run("DELETE FROM leads")
    values = [MAIL] * mails + ["Jane Secret"] * others
    crm.add(
        "leads",
        [
            (f"P{at}", f"2025-03-02T10:{at:02d}:00+01:00", "11", None, None, platform, "x@example.org", 0)
            for at, platform in enumerate(values)
        ],
    )


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_no_snapshot_holds_an_address_and_says_what_it_lacks(crm: Crm, batch_rows: int) -> None:
    spoil(crm, mails=2, others=3)
    snapshot = extract(
        "leads", example("leads"), source=crm.source(batch_rows=batch_rows), window=window(), folder=crm.folder
    )
    rows = pl.read_parquet(snapshot.path).sort("lead_id")
    assert rows["platform"].to_list() == [None, None, *["Jane Secret"] * 3]
    assert MAIL.encode() not in bytes_below(crm.folder)
    config = make_config(crm.folder.parent)
    opened = open_export(crm.folder / "leads", config=config, source=LEADS_SOURCE)
    [one] = opened.personal
    assert (one.column, one.became, one.rows, one.of) == ("platform", "emptied", 2, 5)
    assert one.file == snapshot.path.name


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_what_stands_beside_mostly_addresses_is_not_written_either(crm: Crm, batch_rows: int) -> None:
    """Only the last batch tells that most of the column are addresses; names in earlier batches must not stay."""
    spoil(crm, mails=3, others=2)
    source = crm.source(batch_rows=batch_rows, marks={"a": "mark"})
    snapshot = extract("leads", example("leads"), source=source, window=window(), folder=crm.folder)
    rows = pl.read_parquet(snapshot.path)
    assert (rows.height, rows["platform"].null_count(), rows["platform"].dtype) == (5, 5, pl.String)
    assert snapshot.manifest.rows == 5
    assert pl.read_parquet_metadata(snapshot.path)["a"] == "mark"
    kept = bytes_below(crm.folder)
    assert b"Jane Secret" not in kept
    assert MAIL.encode() not in kept
    assert not list(crm.folder.rglob("*.staged"))
    opened = open_export(crm.folder / "leads", config=make_config(crm.folder.parent), source=LEADS_SOURCE)
    assert [(one.became, one.rows, one.of) for one in opened.personal] == [("left_out", 3, 5)]


def test_a_second_extract_of_the_same_finds_it_unchanged(crm: Crm) -> None:
    spoil(crm, mails=3, others=2)
    first, second = (
        extract("leads", example("leads"), source=crm.source(batch_rows=rows), window=window(at=at), folder=crm.folder)
        for rows, at in ((1, "2025-03-06T06:00:00+00:00"), (3, "2025-03-06T07:00:00+00:00"))
    )
    assert second.unchanged
    assert second.path == first.path


def test_an_extract_whose_needed_text_is_an_address_writes_nothing(crm: Crm, tmp_path: Path) -> None:
    sql = (
        f"SELECT stat_date AS date, ad_id, '{MAIL}' AS geo, impressions, link_clicks AS clicks, amount_spent AS spend "
        "FROM ad_daily_stats WHERE stat_date >= :since AND stat_date < :until"
    )
    with pytest.raises(ContractError, match="ads_geo row 2: geo is or contains") as refused:
        extract_all({"ads_geo": query(tmp_path, sql)}, source=crm.source(), window=window(), folder=crm.folder)
    assert MAIL not in str(refused.value)
    assert bytes_below(crm.folder) == b""


def test_the_intake_keeps_the_count_and_never_the_value(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", lead_rows(("Ad", MAIL), ("Ad", "fb"), ("Ad", "fb")))
    config = make_config(tmp_path)
    intake = Intake(tmp_path / "intake", config)
    for _ in range(2):  # parsed, then from the index
        [arrival] = intake.arrivals("leads", config.paths.leads_path, reader=read_leads)
        assert [(one.column, one.rows) for one in arrival.profile.personal] == [("platform", 1)]
    assert b"secret" not in bytes_below(tmp_path / "intake")
