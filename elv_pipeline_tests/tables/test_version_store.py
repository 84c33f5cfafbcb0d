"""What the lake keeps when exports arrive, restate, overlap and repeat."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.change_log import ChangeLog
from elv_pipeline.contracts.lead_ads import ADS, ADS_CHANGES
from elv_pipeline.errors import ContractError
from elv_pipeline.lake import Lake
from elv_pipeline.tables.loads import RECORDED, Load, LoadPart
from elv_pipeline.tables.version_store import StoredVersions, VersionStore

Figures = dict[tuple[date, str], int]
DAYS = [date(2025, 1, day) for day in range(1, 6)]


def at(day: int, hour: int = 6) -> datetime:
    return datetime(2025, 1, day, hour, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    log = ChangeLog(tmp_path / "lake/ads_changes", ADS_CHANGES.schema)
    return VersionStore(lake=Lake(tmp_path / "lake"), log=log, contract=ADS, ids=("campaign_id", "adset_id", "ad_id"))


def load(folder: Path, moment: datetime, figures: Figures, *, key: str = "", seen: datetime | None = None) -> Load:
    """One file exported at a moment; ads belong to the campaign of their first letter."""
    rows = [
        {"day": day, "campaign_id": f"C{ad[:1]}", "adset_id": "S1", "ad_id": ad, "impressions": value, "clicks": 0}
        | {"spend_micros": value * 10, "source_row": at}
        for at, ((day, ad), value) in enumerate(figures.items(), start=2)
    ]
    file = folder / f"{moment:%d%H}{key}-{len(list(folder.iterdir()))}.parquet"
    pl.DataFrame(rows, schema={**ADS.schema, "source_row": pl.Int64}).write_parquet(file)
    days = [day for day, _ in figures]
    name = key or f"{moment:%d%H}"
    part = LoadPart(
        key=name, rows=file, own_time=False, first_day=min(days), last_day=max(days), first_seen=seen or moment
    )
    return Load(recorded_time=moment, parts=(part,))


def together(*loads: Load) -> Load:
    """Files of one moment."""
    return Load(recorded_time=loads[0].recorded_time, parts=tuple(part for load in loads for part in load.parts))


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
    with pytest.raises(ContractError, match=r"ad_id 'A' on 2025-01-01 has different figures in two files"):
        put(store, [together(one, two)], DAYS[:1])
    same = load(tmp_path, at(2), {(DAYS[0], "A"): 1}, key="same")
    put(store, [together(one, same)], DAYS[:1])
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


def newest(store: VersionStore) -> Figures:
    rows = store.newest(first=DAYS[0], last=DAYS[-1]).collect()
    return {(row["day"], row["ad_id"]): row["impressions"] for row in rows.iter_rows(named=True)}


def test_each_account_has_first_figures_of_its_own(store: VersionStore, tmp_path: Path) -> None:
    """Files without a date in their name differ by microseconds; neither account may become a mere change."""
    mine = load(tmp_path, at(4), {(day, "A"): 10 for day in DAYS[:2]})
    other = load(tmp_path, at(4) + timedelta(microseconds=7), {(day, "B"): 20 for day in DAYS[:2]}, key="b")
    put(store, [mine, other], DAYS[:2])
    assert first(store) == {(day, ad): value for day in DAYS[:2] for ad, value in (("A", 10), ("B", 20))}
    assert changes(store) == []


@pytest.mark.parametrize("hour", [5, 6, 7])
def test_an_account_whose_file_comes_later_loses_nothing(store: VersionStore, tmp_path: Path, hour: int) -> None:
    """Whether the file of the second account is older, as old, or newer than what is known of the first."""
    mine = load(tmp_path, at(4), {(day, "A"): 10 for day in DAYS[:2]})
    stored = put(store, [mine], DAYS[:2])
    other = load(tmp_path, at(4, hour), {(day, "B"): 20 for day in DAYS[:2]}, key="b")
    loads = [together(mine, other)] if hour == 6 else sorted([mine, other], key=lambda one: one.recorded_time)
    found = put(store, loads, [], known=DAYS[:2], applied=stored.applied)
    assert first(store) == {(day, ad): value for day in DAYS[:2] for ad, value in (("A", 10), ("B", 20))}
    assert (changes(store), found.superseded, found.rows) == ([], 0, {})
    assert put(store, loads, [], known=DAYS[:2], applied=found.applied).changes == 0


def test_a_late_file_is_old_for_the_campaigns_that_spoke_since_and_new_for_others(
    store: VersionStore, tmp_path: Path
) -> None:
    one = load(tmp_path, at(2), {(DAYS[0], "A"): 10, (DAYS[0], "B"): 20})
    two = load(tmp_path, at(4), {(DAYS[0], "A"): 11}, key="two")
    stored = put(store, [one, two], DAYS[:1])
    late = load(tmp_path, at(3), {(DAYS[0], "A"): 99, (DAYS[0], "B"): 21, (DAYS[0], "D"): 5}, key="late")
    found = put(store, [one, late, two], [], known=DAYS[:1], applied=stored.applied)
    assert newest(store) == {(DAYS[0], "A"): 11, (DAYS[0], "B"): 21, (DAYS[0], "D"): 5}
    assert changes(store) == [(at(3), DAYS[0], "B", 1), (at(4), DAYS[0], "A", 1)]
    assert (found.superseded, found.superseded_days) == (1, (DAYS[0],))


def test_days_that_one_later_load_alone_has_are_first_figures(store: VersionStore, tmp_path: Path) -> None:
    """A load may cover a day by its first and last day without having a row of it."""
    one = load(tmp_path, at(4), {(DAYS[0], "A"): 1, (DAYS[2], "A"): 3})
    two = load(tmp_path, at(5), {(day, "A"): at for at, day in enumerate(DAYS[:3], start=1)}, key="two")
    put(store, [one, two], DAYS[:3])
    expected = {(day, "A"): at for at, day in enumerate(DAYS[:3], start=1)}
    assert (first(store), newest(store), changes(store)) == (expected, expected, [])


def test_days_that_were_empty_so_far_are_filled(store: VersionStore, tmp_path: Path) -> None:
    one = load(tmp_path, at(4), {(DAYS[0], "A"): 1, (DAYS[2], "A"): 3})
    stored = put(store, [one], DAYS[:3])
    two = load(tmp_path, at(5), {(day, "A"): at for at, day in enumerate(DAYS[:3], start=1)}, key="two")
    put(store, [one, two], [], known=DAYS[:3], applied=stored.applied)
    assert newest(store) == {(day, "A"): at for at, day in enumerate(DAYS[:3], start=1)}


def test_files_of_one_moment_do_not_speak_for_the_days_between_them(tmp_path: Path) -> None:
    ends = together(load(tmp_path, at(9), {(DAYS[0], "A"): 1}), load(tmp_path, at(9), {(DAYS[4], "A"): 5}, key="end"))
    assert [ends.covers(day) for day in DAYS] == [True, False, False, False, True]


def test_a_file_replaced_under_its_name_counts_from_when_it_came_to_hand(store: VersionStore, tmp_path: Path) -> None:
    stored = put(store, [load(tmp_path, at(2), {(DAYS[0], "A"): 10})], DAYS[:1])
    again = load(tmp_path, at(2), {(DAYS[0], "A"): 13}, key="again", seen=at(20))
    found = put(store, [again], [], known=DAYS[:1], applied=stored.applied)
    assert (first(store), changes(store)) == ({(DAYS[0], "A"): 10}, [(at(20), DAYS[0], "A", 3)])
    # A change is relative to what stood before it: it cannot count earlier than that.
    third = load(tmp_path, at(3), {(DAYS[0], "A"): 14}, key="third", seen=at(21))
    put(store, [again, third], [], known=DAYS[:1], applied=found.applied)
    assert changes(store) == [(at(20), DAYS[0], "A", 1), (at(20), DAYS[0], "A", 3)]


def test_a_history_with_times_of_its_own_may_grow_in_place(store: VersionStore, tmp_path: Path) -> None:
    """Every part of the file is new content then, and older than what was applied; that is nothing to tell."""

    def grown(name: str, upto: int) -> list[Load]:
        loads = [load(tmp_path, at(n), {(DAYS[0], "A"): n}, key=f"{name}@{n}") for n in range(2, upto)]
        own = [replace(one.parts[0], own_time=True) for one in loads]
        for part, one in zip(own, loads, strict=True):
            moment = pl.lit(one.recorded_time, ADS.schema[RECORDED]).alias(RECORDED)
            pl.read_parquet(part.rows).with_columns(moment).write_parquet(part.rows)
        return [Load(recorded_time=one.recorded_time, parts=(part,)) for one, part in zip(loads, own, strict=True)]

    stored = put(store, grown("one", 4), DAYS[:1])
    found = put(store, grown("two", 5), [], known=DAYS[:1], applied=stored.applied)
    assert found.superseded == 0
    assert changes(store) == [(at(3), DAYS[0], "A", 1), (at(4), DAYS[0], "A", 1)]


def test_a_run_that_was_cut_short_after_its_changes_is_repeated(store: VersionStore, tmp_path: Path) -> None:
    """The changes of a new campaign were written, its first figures were not."""
    stored = put(store, [load(tmp_path, at(2), {(DAYS[0], "A"): 10})], DAYS[:1])
    fresh = [load(tmp_path, at(n), {(DAYS[0], "B"): n}, key=f"b{n}") for n in (3, 4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "write_days", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, fresh, [], known=DAYS[:1], applied=stored.applied)
    assert len(changes(store)) == 1
    put(store, fresh, [], known=DAYS[:1], applied=stored.applied)
    assert newest(store) == {(DAYS[0], "A"): 10, (DAYS[0], "B"): 4}
    assert changes(store) == [(at(4), DAYS[0], "B", 1)]


def _interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_opens_no_change_recorded_before_the_days_it_is_about(
    store: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = [
        load(tmp_path, at(n), {(DAYS[0] + timedelta(days=m), "A"): n for m in range(max(0, n - 4), n - 1)})
        for n in range(2, 28)
    ]
    days = [DAYS[0] + timedelta(days=m) for m in range(26)]
    stored = put(store, loads[:-1], days[:-1])
    written, opened = len(list(store.log.folder.iterdir())), []
    scan = pl.scan_parquet
    monkeypatch.setattr(pl, "scan_parquet", lambda files, **more: opened.append(files) or scan(files, **more))
    store.newest(first=days[-3], last=date.max).collect()
    put(store, loads, days[-1:], known=days[:-1], applied=stored.applied)
    logged = [files for files in opened if isinstance(files, list) and store.log.folder in files[0].parents]
    assert written > 20
    assert len(logged) == 2
    assert all(len(files) <= 4 for files in logged)


def test_a_change_is_found_by_the_day_it_is_about_whatever_its_file_is_called(
    store: VersionStore, tmp_path: Path
) -> None:
    """A file of a week may be named by the day on which the week begins."""
    one = load(tmp_path, at(1), {(DAYS[4], "A"): 1})
    two = load(tmp_path, at(2), {(DAYS[4], "A"): 2}, key="two")
    put(store, [one, two], DAYS)
    rows = store.newest(first=DAYS[4], last=DAYS[4]).collect()
    assert rows["impressions"].to_list() == [2]
