"""Behind the door of an export no plain id is left: not in tables, caches, profiles or messages."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import LEADS
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline.forgotten import Forgotten
from elv_pipeline.ingest.intake import FORGOTTEN, Intake
from elv_pipeline.ingest.sources import READERS, examine
from elv_pipeline.ingest.stored_ids import hashing_mark, stored_ids
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.privacy import IdHasher
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.ingest.exports import ADS, OUTCOMES, make_config, write
from elv_pipeline_tests.ingest.exports import LEADS as LEAD_ROWS

KEY = "test-key-" + "k" * 40
PRIVACY = {"hashed_columns": ["lead_id", "ad_id"]}
HEADER = "lead_id,created_time,ad_id\n"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", KEY)


def hashed(value: str) -> str:
    return IdHasher(KEY.encode(), ("lead_id",)).text(value)


def configured(folder: Path, **keys: object) -> PipelineConfig:
    return make_config(folder, privacy=PRIVACY, **keys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ads.csv", ADS)
    write(tmp_path, "leads.csv", LEAD_ROWS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    write(tmp_path, "lead_to_ad_map.csv", "lead_id,campaign_id,adset_id,ad_id\nL3,C1,S1,A2\n")
    return tmp_path


def test_ids_are_hashed_alike_in_every_export_so_that_they_join(folder: Path) -> None:
    sources = examine(configured(folder)).required()
    plain = examine(make_config(folder)).required()
    assert sources.leads.frame["lead_id"].sort().to_list() == sorted(map(hashed, ["L1", "L2", "L3"]))
    assert sources.outcomes is not None
    assert sources.outcomes.frame["lead_id"].to_list() == [hashed("L1")]
    assert sources.lead_to_ad_map is not None
    assert sources.lead_to_ad_map.frame["lead_id"].to_list() == [hashed("L3")]
    assert sources.ads is not None
    assert set(sources.ads.frame["ad_id"]) == {hashed("A1"), hashed("A2")}
    assert set(sources.ads.frame["campaign_id"]) == {"C1"}
    with_map, plain_map = sources.leads_with_ids(), plain.leads_with_ids()
    assert sorted(map(hashed, plain_map["ad_id"].to_list())) == sorted(with_map["ad_id"].to_list())


def test_the_kept_files_and_their_index_hold_no_plain_id(tmp_path: Path) -> None:
    rows = [("1", "2025-01-02"), ("1", "2025-01-03"), ("2", "2024-01-03"), ("3", "2025-01-02")]
    write(tmp_path, "leads.csv", HEADER + "".join(f"SECRETLEAD{n},{day}T10:00:00Z,A1\n" for n, day in rows))
    rules = {"leads": {"on_duplicate": "drop", "on_before_start": "drop"}}
    config = configured(tmp_path, contracts=rules, start_date="2025-01-01")
    [arrival] = Intake(tmp_path / "intake", config).arrivals("leads", config.paths.leads_path, reader=read_leads)
    assert arrival.profile.left_out
    assert arrival.dropped == (hashed("SECRETLEAD2"),)
    kept = [file for file in (tmp_path / "intake").rglob("*") if file.is_file()]
    assert len(kept) == 2
    for file in kept:
        assert b"SECRETLEAD" not in file.read_bytes(), file.name
    assert pl.read_parquet(arrival.rows)["lead_id"].to_list() == sorted(map(hashed, ["SECRETLEAD1", "SECRETLEAD3"]))


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("L1SECRET,2025-01-02T10:00:00Z,A1\nL1SECRET,2025-01-03T10:00:00Z,A1\n", "row 3"),
        ("L1SECRET,yesterday,A1\n", "row 2"),
        ("L1SECRET,2024-01-02T10:00:00Z,A1\n", "row 2"),
    ],
)
def test_messages_name_rows_and_hashes_only(tmp_path: Path, rows: str, named: str) -> None:
    write(tmp_path, "leads.csv", HEADER + rows)
    with pytest.raises(ContractError) as error:
        read_leads(tmp_path / "leads.csv", configured(tmp_path, start_date="2025-01-01"))
    assert named in str(error.value)
    assert "SECRET" not in str(error.value)


def test_an_outcome_of_an_unknown_lead_is_named_by_its_hash(folder: Path) -> None:
    write(folder, "outcomes.csv", "lead_id,qualified_time\nLSECRET,2025-01-05T10:00:00Z\n")
    message = examine(configured(folder)).errors["outcomes"]
    assert "LSECRET" not in message
    assert hashed("LSECRET") in message


def test_an_id_that_a_spreadsheet_rounded_is_not_shown(tmp_path: Path) -> None:
    header = "id,created_time,ad_id,adset_id,campaign_id,is_organic,platform"
    write(tmp_path, "leads.csv", f"{header}\n1.23E+15,2025-01-02T10:00:00Z,1,2,3,false,fb\n")
    with pytest.raises(ContractError, match="a spreadsheet has rounded") as error:
        read_leads(tmp_path / "leads.csv", configured(tmp_path))
    assert "1.23E+15" not in str(error.value)


def test_configured_null_values_and_unknown_still_mean_nothing(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", HEADER + "L1,2025-01-02T10:00:00Z,none\nL2,2025-01-02T10:00:00Z,unknown\n")
    config = configured(tmp_path, contracts={"leads": {"null_values": ["none"]}})
    assert read_leads(tmp_path / "leads.csv", config).frame.sort("created_time")["ad_id"].null_count() == 1
    assert "unknown" in read_leads(tmp_path / "leads.csv", config).frame["ad_id"].to_list()


def test_a_batch_is_hashed_by_the_same_door(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", HEADER + "L1,2025-01-02T10:00:00Z,A1\n")
    write(tmp_path, "today.csv", HEADER + "L1,2025-01-02T10:00:00Z,A1\n")
    config = configured(tmp_path)
    assert read_leads(tmp_path / "today.csv", config).frame.equals(read_leads(tmp_path / "leads.csv", config).frame)


def test_a_file_whose_ids_are_hashed_already_says_so_and_is_not_hashed_again(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", HEADER)
    config = configured(tmp_path)
    rows = pl.DataFrame({"lead_id": [12], "created_time": ["2025-01-02T10:00:00Z"], "ad_id": ["A1"]})
    stored = stored_ids(rows, config, table="leads")
    stored.write_parquet(tmp_path / "marked.parquet", metadata=hashing_mark(config))
    stored.write_parquet(tmp_path / "other.parquet", metadata={"elv.hashed_ids": "{}"})
    assert read_leads(tmp_path / "marked.parquet", config).frame["lead_id"].to_list() == [hashed("12")]
    assert read_leads(tmp_path / "other.parquet", config).frame["lead_id"].to_list() == [hashed(hashed("12"))]
    assert hashing_mark(make_config(tmp_path)) == {}


def test_without_the_key_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELV_HASH_KEY")
    write(tmp_path, "leads.csv", HEADER + "L1,2025-01-02T10:00:00Z,A1\n")
    config = configured(tmp_path)
    with pytest.raises(ConfigError, match="ELV_HASH_KEY"):
        Intake(tmp_path / "intake", config).arrivals("leads", config.paths.leads_path, reader=read_leads)
    assert not list((tmp_path / "intake").rglob("*.parquet"))


def test_another_key_parses_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "leads.csv", HEADER + "L1,2025-01-02T10:00:00Z,A1\n")
    config = configured(tmp_path)
    intake = Intake(tmp_path / "intake", config)
    [first] = intake.arrivals("leads", config.paths.leads_path, reader=read_leads)
    before = first.ingested().frame["lead_id"].to_list()
    monkeypatch.setenv("ELV_HASH_KEY", "j" * 40)
    [second] = intake.arrivals("leads", config.paths.leads_path, reader=read_leads)
    assert second.ingested().frame["lead_id"].to_list() != before


@pytest.mark.parametrize("privacy", [{}, PRIVACY])
def test_an_erased_lead_comes_back_with_no_export(tmp_path: Path, privacy: dict[str, object]) -> None:
    rows = "L1,2025-01-02T10:00:00Z,A1\nL1,2025-01-02T10:00:00Z,A1\nL2,2025-01-02T10:00:00Z,A1\n"
    write(tmp_path, "leads.csv", HEADER + rows)
    write(tmp_path, "outcomes.csv", "lead_id,qualified_time\nL1,2025-01-05T10:00:00Z\nL2,2025-01-05T10:00:00Z\n")
    config = make_config(tmp_path, privacy=privacy, contracts={"leads": {"on_duplicate": "drop"}})
    stored = {"L1": hashed("L1"), "L2": hashed("L2")} if privacy else {"L1": "L1", "L2": "L2"}
    file = tmp_path / "forgotten.json"
    Forgotten.load(file).with_ids([stored["L1"]]).save(file)
    assert stored["L1"] not in file.read_text()
    intake = Intake(tmp_path / "intake", config, Forgotten.load(file))
    found = examine(config, readers=intake.readers(READERS, {"leads": LEADS, "outcomes": _outcomes()})).required()
    assert found.leads.frame["lead_id"].to_list() == [stored["L2"]]
    assert found.leads.profile.dropped_rows[FORGOTTEN] == 1
    assert found.leads.profile.left_out == ()
    assert found.outcomes is not None
    assert found.outcomes.frame["lead_id"].to_list() == [stored["L2"]]
    for kept in (tmp_path / "intake").rglob("*.*"):
        assert stored["L1"].encode() not in kept.read_bytes() or kept.suffix == ".parquet"


def _outcomes():  # type: ignore[no-untyped-def]
    from elv_pipeline.contracts.lead_ads import OUTCOMES as contract

    return contract
