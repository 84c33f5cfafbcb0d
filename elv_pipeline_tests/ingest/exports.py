"""Small exports written to a temporary folder, and the configuration that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elv_pipeline.config_file import parse_config
from elv_pipeline.settings import PipelineConfig

ADS = """date,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,impressions,clicks,spend
2025-01-01,C1,One,S1,Set,A1,Ad,100,10,12.34
2025-01-02,C1,One,S1,Set,A1,Ad,100,10,0.1
2025-01-01,C1,One,S1,Set,A2,Ad,50,0,7
"""
LEADS = """lead_id,created_time,ad_id
L1,2025-01-02T10:00:00Z,A1
L2,2025-01-03T23:30:00Z,A2
L3,2025-01-20T08:00:00Z,A1
"""
OUTCOMES = """lead_id,qualified_time
L1,2025-01-05T10:00:00Z
L2,
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    """Write one export."""
    path = folder / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def make_config(folder: Path, **keys: Any) -> PipelineConfig:
    """A configuration whose tables are the files of the folder that exist."""
    paths = {
        f"{table}_path": f"{table}.csv"
        for table in ("ads", "outcomes", "lead_to_ad_map")
        if (folder / f"{table}.csv").exists()
    }
    return parse_config({"paths": {"leads_path": "leads.csv", **paths}, **keys}, source=folder / "config.yaml")
