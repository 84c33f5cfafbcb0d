from __future__ import annotations

from pathlib import Path

import pytest

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.review.profile import profile_markdown, profile_of
from elv_pipeline.ingest.sources import READERS, examine
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ads.csv", ADS)
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    return tmp_path


def test_every_table_is_tried_and_every_broken_one_named(folder: Path) -> None:
    write(folder, "ads.csv", ADS.replace("12.34", "-12.34"))
    write(folder, "leads.csv", LEADS + "L1,2025-01-02T10:00:00Z,A1\n")
    config = make_config(folder)
    examination = examine(config)
    assert examination.sources is None
    assert set(examination.errors) == {"ads", "leads"}
    assert set(examination.tables) == {"outcomes"}
    with pytest.raises(ContractError) as caught:
        examine(config).required()
    assert str(caught.value).startswith("2 exports break their contracts; nothing was written.\n- ads: ads.csv row 2")
    assert "\n- leads: leads.csv row 5: lead_id is 'L1', as in row 2" in str(caught.value)


def test_a_single_error_keeps_its_own_words(folder: Path) -> None:
    write(folder, "ads.csv", ADS.replace("12.34", "-12.34"))
    examination = examine(make_config(folder))
    assert examination.message == examination.errors["ads"]
    assert examination.message.startswith("ads.csv row 2: spend is -12.34")


def test_a_rule_between_tables_counts_against_the_outcomes(folder: Path) -> None:
    write(folder, "outcomes.csv", OUTCOMES.replace("2025-01-05", "2025-01-01"))
    examination = examine(make_config(folder))
    assert set(examination.errors) == {"outcomes"}
    assert "must not precede its lead" in examination.errors["outcomes"]


def test_the_readers_can_be_replaced(folder: Path) -> None:
    opened: list[str] = []

    def counted(path: Path | str, config: PipelineConfig) -> Ingested:
        opened.append(Path(path).name)
        return READERS["leads"](path, config)

    sources = examine(make_config(folder), readers={**READERS, "leads": counted}).required()
    assert opened == ["leads.csv"]
    assert sources.leads.frame.height == 3


def test_the_profile_of_broken_exports_says_what_is_broken_and_what_could_be_read(folder: Path) -> None:
    write(folder, "ads.csv", ADS.replace("12.34", "-12.34"))
    config = make_config(folder)
    document = profile_of(examine(config), config)
    assert document["verdict"] == "not ready"
    assert document["headline"] == "One export breaks its contract, so nothing was loaded."
    assert [action["table"] for action in document["fix_first"]] == ["ads"]
    assert document["readiness"]["score"]["reasons"] == ["the ads export cannot be read"]
    assert document["tables"]["leads"]["rows"] == 3
    contracts, *others = document["checks"]
    assert (contracts["passed"], contracts["severity"]) == (False, "error")
    assert not any(check["passed"] for check in others), "what was not judged must not look fine"
    assert "spend is -12.34" in profile_markdown(document)
