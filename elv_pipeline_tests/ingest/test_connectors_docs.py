from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.ingest.connectors import registry
from elv_pipeline.ingest.connectors.base import ConnectorSpec
from elv_pipeline.ingest.locations import SUPPORTED
from elv_pipeline.ingest.tables import read_ads
from elv_pipeline_tests.ingest.meta_exports import meta_config, save

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "CONNECTORS.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_worked_example_reads_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(compile(block("python"), "docs/CONNECTORS.md", "exec"), names)
    acme: ConnectorSpec = names["ACME_ADS"]
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, acme))
    path = save(tmp_path, "report.csv", block("text"))
    found = read_ads(path, meta_config(tmp_path, contracts={"ads": {"decimal_comma": True}}))
    assert found.frame.select("ad_id", "ad_name", "impressions", "clicks", "spend_micros").rows() == [
        ("A1", "Video A", 1204, 35, 11_520_000),
        ("A1", "Video A", 1300, 0, 12_000_000),
    ]
    assert found.profile.currency == "EUR"


@pytest.mark.parametrize("spec", registry.CONNECTORS[1:], ids=lambda spec: spec.name)
def test_every_accepted_name_is_documented(spec: ConnectorSpec) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    documented = {cell.strip() for row in rows for cell in re.split(r"[|,]", row)}
    accepted = {name for names in spec.tables.values() for known in names.spellings.values() for name in known}
    assert accepted <= documented


def test_every_readable_kind_of_file_is_documented() -> None:
    assert all(f"`{ending}`" in PAGE for ending in SUPPORTED if ending.count(".") == 1)
    assert all(f"`{packed}`" in PAGE for packed in (".gz", ".bz2", ".zst", ".xz"))


@pytest.mark.parametrize("spec", registry.CONNECTORS, ids=lambda spec: spec.name)
def test_every_connector_can_be_configured(tmp_path: Path, spec: ConnectorSpec) -> None:
    config = meta_config(tmp_path, source=spec.name)
    assert all(registry.candidates_for(table, config) == (spec,) for table in spec.tables)
    assert f"`{spec.name}`" in PAGE
