"""The home folder: which configurations it has accepted, and which it refuses."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.home import HOME_VARIABLE, Home, write_atomically
from elv_pipeline.settings import PipelineConfig, Schedules
from elv_pipeline.settings_exports import Paths
from elv_pipeline.settings_model import ModelSettings
from elv_pipeline.settings_operation import Database, Databases, Extracts

START = date(2024, 1, 1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def config(**changes: Any) -> PipelineConfig:
    return PipelineConfig(
        **{"start_date": START, "paths": Paths(leads_path="/data/leads.csv", ads_path="/data/ads.csv"), **changes}
    )


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"org_id": "other"}, "org_id was default, now other"),
        ({"timezone": "Europe/Berlin"}, "timezone was UTC, now Europe/Berlin"),
        ({"start_date": date(2024, 1, 2)}, "start_date was 2024-01-01, now 2024-01-02"),
        ({"schedules": Schedules(origin_weekday="sunday")}, "schedules.origin_weekday was monday, now sunday"),
        ({"paths": Paths(leads_path="/other/leads.csv", ads_path="/data/ads.csv")}, "now /other/leads.csv"),
        ({"paths": Paths(leads_path="/data/leads.csv")}, "paths.ads_path was /data/ads.csv, now None"),
    ],
)
def test_a_name_that_stands_for_other_data_is_refused_with_both_ways_out(
    home: Home, changes: dict[str, Any], difference: str
) -> None:
    home.register(config())
    before = home.configuration_file("lead_ads").read_bytes()
    with pytest.raises(ConfigError) as refusal:
        home.register(config(**changes))
    message = str(refusal.value)
    assert difference in message
    assert "'lead_ads'" in message
    assert str(home.root) in message
    assert "another 'name:'" in message
    assert f"{HOME_VARIABLE}=" in message
    assert home.configuration_file("lead_ads").read_bytes() == before
    # Both ways out work.
    home.register(config(**changes, name="second"))
    Home(home.root.with_name("another")).register(config(**changes))


def test_choices_that_are_not_the_data_may_change_and_are_remembered(home: Home) -> None:
    home.register(config())
    changed = config(value_per_qualified=80.0, end_date=date(2025, 1, 1), model=ModelSettings(model_type="logreg"))
    home.register(changed)
    assert home.registered() == [changed]


def test_registering_again_writes_nothing(home: Home) -> None:
    first = home.register(config())
    file = home.configuration_file("lead_ads")
    written = file.stat()
    assert home.register(config()) == first
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert [path.name for path in file.parent.iterdir()] == ["lead_ads.json"]


def test_the_start_date_is_fixed_by_the_first_use(home: Home) -> None:
    home.register(config())
    assert home.register(config(start_date=None)).start_date == START
    assert home.registered()[0].start_date == START


def test_every_setting_survives_the_round_trip(home: Home) -> None:
    # A date means the end of its day, the same midnight as a moment does not: the kind must survive too.
    full = config(observed_from=date(2024, 1, 8), observed_until=date(2024, 6, 30), value_per_qualified=0.1 + 0.2)
    home.register(full)
    known = home.registered()[0]
    assert known == full
    assert type(known.observed_until) is date
    assert known.observed_until_moment == datetime(2024, 7, 1, tzinfo=UTC)
    moments = config(name="moments", observed_until=datetime(2024, 6, 30, 12, tzinfo=UTC))
    home.register(moments)
    assert next(c for c in home.registered() if c.name == "moments").observed_until_moment == moments.observed_until


def test_configurations_are_listed_by_name_and_half_written_files_are_not(home: Home) -> None:
    assert home.registered() == []
    for name in ("b", "a"):
        home.register(config(name=name))
    (home.configuration_file("a").parent / ".c.json.0123abcd.staged").write_text("{", encoding="utf-8")
    assert [known.name for known in home.registered()] == ["a", "b"]


@pytest.mark.parametrize("content", ["{", '{"name": "lead_ads"}', '{"paths": {"leads_path": "/l"}, "gone": 1}', ""])
def test_an_unreadable_configuration_names_its_file_and_the_remedy(home: Home, content: str) -> None:
    file = home.configuration_file("lead_ads")
    write_atomically(file, content)
    for call in (home.registered, lambda: home.register(config())):
        with pytest.raises(ConfigError, match="Remove the file and run the command again") as refusal:
            call()
        assert str(file) in str(refusal.value)


def test_the_home_comes_from_the_environment_or_is_var(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for value in ("", None):
        if value is None:
            monkeypatch.delenv(HOME_VARIABLE)
        else:
            monkeypatch.setenv(HOME_VARIABLE, value)
        assert Home.from_environment().root == tmp_path / "var"
    monkeypatch.setenv(HOME_VARIABLE, "elsewhere")
    assert Home.from_environment().root == tmp_path / "elsewhere"


def test_everything_lives_under_the_root_and_nothing_is_created_by_asking(home: Home) -> None:
    for path in (home.dagster, home.runs, home.run_registry, home.lake("x"), home.models("x")):
        assert path.is_relative_to(home.root)
    for address in (home.tracking_uri, home.scores_url, home.artifact_uri):
        assert str(home.root) in address
    assert not home.root.exists()


def test_a_failed_atomic_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_atomically(tmp_path / "deep" / "x.json", json.dumps({"a": "é"}, ensure_ascii=False))
    assert file.read_bytes() == '{"a": "é"}'.encode()

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk gone"):
        write_atomically(file, b"new")
    assert file.read_bytes() == '{"a": "é"}'.encode()
    assert [path.name for path in file.parent.iterdir()] == ["x.json"]


def test_a_home_that_moves_takes_its_snapshots_along(tmp_path: Path) -> None:
    extracts = Extracts(leads=str(tmp_path / "leads.sql"))
    databases = Databases(source=Database(url_variable="ELV_SOURCE_URL"))
    config = PipelineConfig(
        start_date=date(2026, 1, 5),
        databases=databases,
        extracts=extracts,
        paths=Paths(leads_path="extracts://leads", ads_path="ads.csv"),
    )
    first = Home(tmp_path / "first")
    placed = first.register(config)
    assert placed.paths.leads_path == str(tmp_path / "first" / "extracts" / "lead_ads" / "leads")
    assert placed.paths.ads_path == "ads.csv"
    assert first.register(placed) == placed  # what is remembered does not depend on who asks
    moved = Home(first.root.rename(tmp_path / "second"))
    assert [found.paths.leads_path for found in moved.registered()] == [
        str(tmp_path / "second" / "extracts" / "lead_ads" / "leads")
    ]
    moved.register(config)
