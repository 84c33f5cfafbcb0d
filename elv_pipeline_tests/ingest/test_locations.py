from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import fsspec
import pytest

from elv_pipeline.contracts.lead_ads import ADS_SOURCE, LEADS_SOURCE
from elv_pipeline.errors import ContractError, MissingExtraError
from elv_pipeline.ingest import locations
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.locations import ExportFile, locate
from elv_pipeline_tests.ingest.exports import ADS, LEADS
from elv_pipeline_tests.ingest.meta_exports import ads_text, meta_config, save

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def bucket() -> Iterator[str]:
    """An object store in memory."""
    root = f"memory://{uuid.uuid4().hex}"
    yield root
    fsspec.filesystem("memory").rm(root.removeprefix("memory:/"), recursive=True)


def upload(url: str, text: str) -> None:
    with fsspec.open(url, "w", encoding="utf-8") as remote:
        remote.write(text)


def names(path: Path | str) -> list[str]:
    return [file.name for file in locate(str(path))]


def refusal(path: Path | str) -> str:
    with pytest.raises(ContractError) as caught:
        locate(str(path), table="ads")
    return str(caught.value)


def test_a_file_a_folder_and_a_glob(tmp_path: Path) -> None:
    for name in ("ads_2.csv", "ads_1.csv.gz", "ads_3.XLSX", "notes.md", ".hidden.csv", "~$ads_3.xlsx", "leads.parquet"):
        (tmp_path / name).write_text("x")
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "ads_0.csv").write_text("x")
    assert names(tmp_path / "ads_2.csv") == ["ads_2.csv"]
    assert names(tmp_path) == ["ads_1.csv.gz", "ads_2.csv", "ads_3.XLSX", "leads.parquet"]
    assert names(tmp_path / "ads_*") == ["ads_1.csv.gz", "ads_2.csv", "ads_3.XLSX"]
    assert names(tmp_path / "**" / "ads_*.csv") == ["ads_2.csv", "ads_0.csv"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "ads[1].csv").write_text("x")
    assert names(tmp_path / "ads[1].csv") == ["ads[1].csv"]


def test_the_version_changes_with_the_content(tmp_path: Path) -> None:
    path = save(tmp_path, "ads.csv", "x")
    [before] = locate(str(path))
    path.write_text("longer")
    [after] = locate(str(path))
    assert before.version != after.version
    assert (before.size, after.size) == (1, 6)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "ads.csv").endswith(
        "ads.csv: no such file or folder; it should hold ads. Correct paths.ads_path or export it."
    )
    assert "no file there (or none that matches). Correct paths.ads_path" in refusal(tmp_path)
    assert "none that matches" in refusal(tmp_path / "ads_*.csv")
    (tmp_path / "ads.pdf").write_text("x")
    assert "no readable file among 1 (ads.pdf); readable are .csv, .tsv" in refusal(tmp_path)
    assert "ads.pdf: files of this kind cannot be read; readable are .csv" in refusal(tmp_path / "ads.pdf")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ads_2025-03-31.csv", datetime(2025, 3, 31, 22, tzinfo=UTC)),
        ("ads_2025-03-29.csv.gz", datetime(2025, 3, 29, 23, tzinfo=UTC)),
        ("20250331-ads.csv", datetime(2025, 3, 31, 22, tzinfo=UTC)),
        ("ads.2025_03_31.v2.xlsx", datetime(2025, 3, 31, 22, tzinfo=UTC)),
        ("ads_20250331T0600.csv", datetime(2025, 3, 31, 4, tzinfo=UTC)),
        ("ads_20250331T060030Z.csv", datetime(2025, 3, 31, 6, 0, 30, tzinfo=UTC)),
        ("ads 2025-03-31 06-00-00.csv", datetime(2025, 3, 31, 4, tzinfo=UTC)),
        ("ads_2025-03-31_9000.csv", datetime(2025, 3, 31, 22, tzinfo=UTC)),
        ("ads_2025-03-01_2025-03-31.csv", None),
        ("ads_120250331455.csv", None),
        ("ads_2025-13-31.csv", None),
        ("ads.csv", None),
    ],
)
def test_the_moment_in_a_name(name: str, expected: datetime | None) -> None:
    file = ExportFile(name=name, location=f"/exports/{name}", size=1, version="1")
    assert file.recorded_time(BERLIN) == expected


def test_remote_files_folders_and_globs_are_fetched_when_read(tmp_path: Path, bucket: str) -> None:
    for day in (1, 2):
        upload(f"{bucket}/ads/ads_2025-03-0{day}.csv", ADS)
    upload(f"{bucket}/ads/readme.md", "x")
    assert names(f"{bucket}/ads") == names(f"{bucket}/ads/*.csv") == ["ads_2025-03-01.csv", "ads_2025-03-02.csv"]
    found = open_export(f"{bucket}/ads/ads_2025-03-02.csv", config=meta_config(tmp_path), source=ADS_SOURCE)
    assert (found.name, found.frame.height) == ("ads_2025-03-02.csv", 3)
    assert found.recorded_time == datetime(2025, 3, 2, 23, tzinfo=UTC)
    [file] = locate(f"{bucket}/ads/ads_2025-03-02.csv")
    with file.local() as copy:
        assert copy.read_text() == ADS
    assert not copy.exists()


def test_messages_about_a_remote_file_name_it(tmp_path: Path, bucket: str) -> None:
    upload(f"{bucket}/ads.csv", ADS.replace("2025-01-02", "yesterday"))
    from elv_pipeline.ingest.tables import read_ads

    with pytest.raises(ContractError, match=r"^ads\.csv row 3: date is 'yesterday'"):
        read_ads(f"{bucket}/ads.csv", meta_config(tmp_path))
    assert "/nothing.csv: no such file or folder; it should hold ads." in refusal(f"{bucket}/nothing.csv")


def test_a_missing_package_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> object:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingExtraError, match=r"^s3://b/ads\.csv: .*pip install 'elv-pipeline\[remote\]'$"):
        locate("s3://b/ads.csv")


def test_an_unknown_protocol_and_an_unreachable_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "an address that begins with s3://, gs://, az:// or abfs://" in refusal("s4://bucket/ads.csv")

    class Unreachable:
        def exists(self, path: str) -> bool:
            raise LookupError("no credentials")

    monkeypatch.setattr(locations, "_file_system", lambda url: (Unreachable(), "bucket/ads.csv"))
    assert "cannot be reached (LookupError: no credentials). Check the address" in refusal("s3://bucket/ads.csv")


def test_a_folder_reads_as_one_table_and_keeps_when_each_file_was_exported(tmp_path: Path) -> None:
    folder = tmp_path / "ads"
    folder.mkdir()
    save(folder, "ads_2025-03-03.csv", ads_text())
    save(folder, "ads_2025-03-04.csv", ADS)
    found = open_export(folder, config=meta_config(tmp_path), source=ADS_SOURCE)
    assert found.name == "ads (2 files)"
    assert found.connector == "canonical, meta_ads_manager"
    assert found.frame["source_row"].to_list() == [2, 3, 4, 6, 7, 8]
    assert found.frame["recorded_time"].unique(maintain_order=True).to_list() == [
        "2025-03-03T23:00:00+00:00",
        "2025-03-04T23:00:00+00:00",
    ]
    assert found.currency == "EUR"


def test_a_folder_of_leads_says_nothing_about_when_they_were_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "leads"
    folder.mkdir()
    save(folder, "leads_2025-03-03.csv", LEADS)
    save(folder, "leads_2025-03-04.csv", LEADS.replace("L", "M").replace("Mead", "lead"))
    found = open_export(folder, config=meta_config(tmp_path), source=LEADS_SOURCE)
    assert found.columns == ("lead_id", "created_time", "ad_id")
    assert found.frame.height == 6
