"""Configuration files with several targets: what each becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from elv_pipeline.config_file import file_and_target, load_config, load_targets
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home

TABLES = ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes")
PATHS = {f"{table}_path": f"exports/{table}.csv" for table in TABLES}


def written(folder: Path, **keys: Any) -> Path:
    document = {"name": "crm", "problem": "outreach", "paths": PATHS, **keys}
    path = folder / "crm.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_each_target_becomes_a_configuration_of_one_family(tmp_path: Path) -> None:
    file = written(tmp_path, targets=["booked_call", "qualified", "converted"], values={"converted": 900})
    found = load_targets(file)
    assert [one.name for one in found] == ["crm_booked_call", "crm_qualified", "crm_converted"]
    assert {one.shared_name for one in found} == {"crm"}
    assert [one.label_column for one in found] == [
        "booked_call_within_7d",
        "qualified_within_14d",
        "conversion_within_30d",
    ]
    assert [one.probability_column for one in found] == ["p_booked_call_7d", "p_qualified_14d", "p_converted_30d"]
    assert [one.value_per_qualified for one in found] == [1.0, 1.0, 900.0]
    assert len({one.data_identity() for one in found}) == 3


def test_a_target_can_be_picked_and_have_its_own_window(tmp_path: Path) -> None:
    file = written(tmp_path, targets=["qualified", "converted"], windows={"converted": 60})
    (one,) = load_targets(f"{file}#converted")
    assert (one.target, one.label_window_days, one.label_column) == ("converted", 60, "conversion_within_60d")
    with pytest.raises(ConfigError, match=r"'booked_call' is none of its targets. They are qualified, converted"):
        load_targets(f"{file}#booked_call")


def test_a_file_without_targets_is_one_configuration(tmp_path: Path) -> None:
    file = written(tmp_path, target="qualified")
    (one,) = load_targets(file)
    assert one == load_config(file)
    assert (one.name, one.shared_name, one.label_window_days) == ("crm", "crm", 14)
    with pytest.raises(ConfigError, match=r"the file has no 'targets'. Leave out #qualified"):
        load_targets(f"{file}#qualified")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"targets": "qualified"}, "it must be a list of one to 3 different targets"),
        ({"targets": []}, "it must be a list of one to 3"),
        ({"targets": ["qualified", "qualified"]}, "it must be a list of one to 3 different targets"),
        ({"targets": ["won"]}, "target 'won' is none of booked_call, qualified, converted"),
        ({"targets": ["qualified"], "windows": {"converted": 3}}, "windows: converted is none of its targets"),
        ({"targets": ["qualified"], "values": 5}, "values: 5 is none of its targets. Give values by target"),
        ({"target": "won"}, "target 'won' is none of booked_call, qualified, converted"),
        ({"paths": {"contacts_path": "a.csv"}}, "paths.campaigns_path: this key is required and missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_remedy(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_targets(written(tmp_path, **keys))


def test_lead_ads_has_one_target_and_keeps_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "ads.yaml"
    path.write_text(yaml.safe_dump({"name": "ads", "paths": {"leads_path": "leads.csv"}}), encoding="utf-8")
    (one,) = load_targets(path)
    assert (one.target, one.label_column, one.probability_column) == (
        "qualified",
        "qualified_within_14d",
        "p_qualified_14d",
    )
    with pytest.raises(ConfigError, match=r"target 'converted' is none of qualified"):
        load_config(path, overrides={"target": "converted"})


def test_a_number_sign_in_a_folder_or_file_is_no_target(tmp_path: Path) -> None:
    folder = tmp_path / "a#b"
    folder.mkdir()
    file = written(folder, targets=["qualified", "converted"])
    assert file_and_target(file) == (file, "")
    assert file_and_target(f"{file}#qualified") == (file, "qualified")
    assert [one.target for one in load_targets(file)] == ["qualified", "converted"]
    odd = file.rename(folder / "crm#2.yaml")
    assert [one.target for one in load_targets(f"{odd}#converted")] == ["converted"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"targets": ["qualified"], "target": "qualified"}, "target and targets are both set"),
        ({"targets": ["qualified"], "valuess": {"qualified": 3}}, r"valuess: this key does not exist .* mean values\?"),
        ({"target": "qualified", "engine": "spark"}, "engine spark runs the features of lead_ads"),
        ({"target": "qualified", "moments": {"positions": [0]}}, r"moments.positions.0 is 0: .* greater than or equal"),
        ({"target": "qualified", "moments": {"at_enrollment": False, "positions": []}}, "no moment is left to score"),
    ],
)
def test_what_would_be_passed_over_in_silence_is_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_targets(written(tmp_path, **keys))


def test_targets_that_share_their_tables_are_of_the_same_data(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    qualified, converted = load_targets(written(tmp_path, targets=["qualified", "converted"], start_date="2025-01-06"))
    home.register(qualified)
    other = converted.model_copy(update={"paths": converted.paths.model_copy(update={"contacts_path": "b.csv"})})
    with pytest.raises(ConfigError, match=r"the tables of 'crm' already stand for other data.*paths.contacts_path"):
        home.register(other)
    # A calendar that the file leaves open begins where that of the tables does.
    assert home.register(converted.model_copy(update={"start_date": None})).start_date == qualified.start_date
    assert home.register(converted.model_copy(update={"start_date": None})).start_date == qualified.start_date
    assert home.register(qualified) == qualified


def test_another_target_under_the_same_name_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.register(load_targets(written(tmp_path, target="qualified"))[0])
    with pytest.raises(ConfigError, match="target was qualified, now converted"):
        home.register(load_targets(written(tmp_path, target="converted"))[0])
