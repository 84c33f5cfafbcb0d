"""What the lake keeps when exports arrive, restate, overlap and repeat."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.change_log import ChangeLog
from elv_pipeline.contracts.lead_ads import ADS, ADS_CHANGES
from elv_pipeline.errors import ContractError
from elv_pipeline.lake import Lake
from elv_pipeline.tables.version_store import Load, StoredVersions, VersionStore

DAYS = [date(2025, 1, day) for day in range(1, 6)]


def at(day: int, hour: int = 6) -> datetime:
    return datetime(2025, 1, day, hour, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    log = ChangeLog(tmp_path / "lake/ads_changes", ADS_CHANGES.schema)
    return VersionStore(lake=Lake(tmp_path / "lake"), log=log, contract=ADS, ids=("campaign_id", "adset_id", "ad_id"))


def load(folder: Path, moment: datetime, figures: dict[tuple[date, str], int], *, key: str = "") -> Load:
    rows = [
        {"day": day, "campaign_id": "C1", "adset_id": "S1", "ad_id": ad, "impressions": value, "clicks": 0}
        | {"spend_micros": value * 10, "source_row": at}
        for at, ((day, ad), value) in enumerate(figures.items(), start=2)
    ]
    file = folder / f"{moment:%d%H}{key}.parquet"
    pl.DataFrame(rows, schema={**ADS.schema, "source_row": pl.Int64}).write_parquet(file)
    days = [day for day, _ in figures]
    name = key or f"{moment:%d%H}"
    return Load(recorded_time=moment, key=name, files=((file, False),), first_day=min(days), last_day=max(days))


def put(store: VersionStore, loads: list[Load], days: list[date], **more: Any) -> StoredVersions:
    return store.store(loads, days=days, known=more.get("known", ()), applied=more.get("applied", {}))


def first(store: VersionStore) -> dict[tuple[date, str], int]:
    rows = store.lake.scan_days("ads", first=DAYS[0], last=DAYS[-1]).collect()
    return {(row["day"], row["ad_id"]): row["impressions"] for row in rows.iter_rows(named=True)}


def changes(store: VersionStore) -> list[tuple[Any, ...]]:
    found = store.log.scan().select("recorded_time", "day", "ad_id", "impressions").collect()
    return sorted(found.rows())


def test_the_first_export_of_a_day_stays_and_later_ones_are_changes(store: VersionStore, tmp_path: Path) -> None:
    one = load(tmp_path, at(2), {(DAYS[0], "A"): 10})
    two = load(tmp_path, at(3), {(DAYS[0], "A"): 12, (DAYS[1], "A"): 5})
    put(store, [one, two], DAYS[:2])
    assert first(store) == {(DAYS[0], "A"): 10, (DAYS[1], "A"): 5}
    assert changes(store) == [(at(3), DAYS[0], "A", 2)]
    newest = store.newest(first=DAYS[0], last=DAYS[-1]).collect()
    assert dict(newest.select("day", "impressions").iter_rows()) == {DAYS[0]: 12, DAYS[1]: 5}


def test_day_by_day_leaves_what_one_run_leaves(store: VersionStore, tmp_path: Path) -> None:
    loads = [
        load(tmp_path, at(n + 1), {(DAYS[m], ad): 10 * m + n for m in range(max(0, n - 3), n) for ad in ("A", "B")})
        for n in range(1, 6)
    ]
    put(store, loads, DAYS)
    whole = first(store), changes(store)
    assert len(whole[1]) > 5
    other = VersionStore(
        lake=Lake(tmp_path / "other"),
        log=ChangeLog(tmp_path / "other/ads_changes", ADS_CHANGES.schema),
        contract=ADS,
        ids=store.ids,
    )
    applied: dict[str, str] = {}
    for n in range(1, 6):
        applied = put(other, loads[:n], [DAYS[n - 1]], known=DAYS[: n - 1], applied=applied).applied
    assert (first(other), changes(other)) == whole


def test_the_same_export_again_changes_nothing(store: VersionStore, tmp_path: Path) -> None:
    one = load(tmp_path, at(2), {(DAYS[0], "A"): 10})
    stored = put(store, [one], DAYS[:1])
    again = put(store, [one], [], known=DAYS[:1], applied=stored.applied)
    assert (again.changes, again.applied) == (0, stored.applied)
    copy = load(tmp_path, at(4), {(DAYS[0], "A"): 10}, key="copy")
    assert put(store, [copy], [], known=DAYS[:1], applied=stored.applied).changes == 0
    assert changes(store) == []


def test_a_run_that_was_cut_short_is_repeated(store: VersionStore, tmp_path: Path) -> None:
    stored = put(store, [load(tmp_path, at(2), {(DAYS[0], "A"): 10})], DAYS[:1])
    two = load(tmp_path, at(3), {(DAYS[0], "A"): 12})
    put(store, [two], [], known=DAYS[:1], applied=stored.applied)
    before = changes(store)
    # The changes were written, the note that they are applied was not.
    put(store, [two], [], known=DAYS[:1], applied=stored.applied)
    assert changes(store) == before == [(at(3), DAYS[0], "A", 2)]


def test_an_older_file_that_comes_late_restates_nothing(store: VersionStore, tmp_path: Path) -> None:
    stored = put(store, [load(tmp_path, at(4), {(DAYS[0], "A"): 10})], DAYS[:1])
    old = load(tmp_path, at(2), {(DAYS[0], "A"): 3})
    found = put(store, [old], [], known=DAYS[:1], applied=stored.applied)
    assert found.superseded == 1
    assert changes(store) == []


def test_two_files_of_one_moment_must_agree(store: VersionStore, tmp_path: Path) -> None:
    one, two = (load(tmp_path, at(2), {(DAYS[0], "A"): value}, key=str(value)) for value in (1, 2))
    both = Load(recorded_time=at(2), key="both", files=one.files + two.files, first_day=DAYS[0], last_day=DAYS[0])
    with pytest.raises(ContractError, match=r"ad_id 'A' on 2025-01-01 has different figures in two files"):
        put(store, [both], DAYS[:1])
    same = load(tmp_path, at(2), {(DAYS[0], "A"): 1}, key="same")
    twice = Load(recorded_time=at(2), key="twice", files=one.files + same.files, first_day=DAYS[0], last_day=DAYS[0])
    put(store, [twice], DAYS[:1])
    assert first(store) == {(DAYS[0], "A"): 1}


def test_a_forgotten_day_has_no_changes_left(store: VersionStore, tmp_path: Path) -> None:
    loads = [load(tmp_path, at(n), {(DAYS[0], "A"): n, (DAYS[1], "A"): n}) for n in (3, 4)]
    put(store, loads, DAYS[:2])
    assert len(changes(store)) == 2
    store.log.forget([DAYS[0]])
    assert [row[1] for row in changes(store)] == [DAYS[1]]
    store.log.forget([DAYS[1]])
    assert list(store.log.folder.glob("*")) == []


def test_changes_are_found_by_the_moment_they_were_recorded(store: VersionStore, tmp_path: Path) -> None:
    loads = [load(tmp_path, at(n), {(DAYS[0], "A"): n}) for n in (2, 3, 4)]
    put(store, loads, DAYS[:1])
    second = timedelta(seconds=1)
    assert store.log.scan(before=at(3)).collect().height == 0
    assert store.log.scan(before=at(3) + second).collect().height == 1
    assert store.log.scan(since=at(3) + second).collect()["recorded_time"].to_list() == [at(4)]
