"""A lead is erased from a home that really lived, and a search that knows nothing of the erasure finds it nowhere."""

import bz2
import gzip
import json
import lzma
import shutil
import sqlite3
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest

from elv_pipeline.home import Home
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.housekeeping import forget_lead
from elv_pipeline.orchestration.instance import opened_instance
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Finished
from elv_pipeline_tests.publishing.home_with_a_lead import snapshot

pytestmark = [BETA, pytest.mark.slow]
OTHER = "lead99999999"
_UNPACK: tuple[Callable[[bytes], bytes], ...] = (gzip.decompress, bz2.decompress, lzma.decompress, zlib.decompress)


def contents(content: bytes) -> Iterator[bytes]:
    """The bytes of a file and of everything that is packed in it, however deep."""
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(BytesIO(content))
        yield repr([column.to_pylist() for column in table.columns]).encode()
        yield repr(table.schema.metadata).encode()
    if content[:2] == b"PK":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from contents(archive.read(name))
    for unpack in _UNPACK:
        try:
            inside = unpack(content)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            continue
        if inside:
            yield from contents(inside)


def cells(file: Path) -> Iterator[bytes]:
    """Every packed value of a database; its texts stand in the bytes of the file."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from (value for value in row if isinstance(value, bytes))


def holding(root: Path, text: str) -> set[str]:
    """Files of a folder that hold a text anywhere: in their bytes, free pages and write-ahead logs included, or packed.

    Knows formats, and nothing of the project.
    """
    found, wanted = set(), text.encode()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        parts = [file.read_bytes()]
        if parts[0].startswith(b"SQLite format 3\x00"):
            parts += cells(file)
        if any(wanted in inside for part in parts for inside in contents(part)) or text in file.name:
            found.add(str(file.relative_to(root)))
    return found


@pytest.fixture
def lived(finished: Finished, tmp_path: Path) -> Deployment:
    """A home of its own, with its event log, registry, scores and bundles."""
    shutil.copytree(finished.deployment.home.root, tmp_path / "home", dirs_exist_ok=True)
    return deployment_of(finished.deployment.config, Home(tmp_path / "home"))


@dg.asset
def shown(context: dg.AssetExecutionContext) -> None:
    """An asset that shows a lead, as previews of tables do, and prints it."""
    lead = context.run.tags["lead"]
    context.add_output_metadata({"preview": dg.MetadataValue.md(f"| lead_id | p |\n| {lead} | 0.5 |"), "lead": lead})
    context.log.info("scored %s", lead)


def planted(deployment: Deployment, instance: dg.DagsterInstance, lead: str) -> None:
    """Put the lead where a scored home of synthetic leads has none: each store that a real one has."""
    home = deployment.home
    snapshot(home, deployment.config, ids=(lead, OTHER))
    dg.materialize([shown], instance=instance, tags={"lead": lead})
    texts = {
        f"mlartifacts/{NAME}/models/m-1/artifacts/input_example.json": json.dumps({"data": [[lead, 1.0]]}),
        f"alerts/outbox/{NAME}/webhook-X-1.json": json.dumps({"message": {"alerts": [{"message": f"about {lead}"}]}}),
        f"alerts/{NAME}.json": json.dumps({"version": 1, "open": {}, "outgoing": [{"message": {"id": lead}}]}),
        f"validation/{NAME}.html": f"<td>{lead}</td>",
        f"monitoring/{NAME}.html": f"<td>{lead}</td>",
        "access.jsonl": json.dumps({"statement": f"WHERE id = '{lead}'"}) + "\n",
        f"dagster/storage/{'1' * 36}/compute_logs/abc.err": f"row 3: lead {lead}\n",
    }
    for name, text in texts.items():
        file = home.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text)


def widespread(deployment: Deployment) -> str:
    """The lead of a scored day that stands in the most files already."""
    leads = pl.read_parquet(deployment.lake.partition("predictions", LAST))["lead_id"].to_list()
    score = Counter[str]()
    for lead in leads[:5]:
        score[lead] = len(holding(deployment.home.root / "runs", lead))
    return score.most_common(1)[0][0]


def test_after_an_erasure_no_byte_of_the_home_names_the_lead(lived: Deployment) -> None:
    home, lead = lived.home, widespread(lived)
    with opened_instance(home) as instance:
        planted(lived, instance, lead)
    before = holding(home.root, lead)
    tops = {name.split("/")[0] for name in before}
    assert tops >= {"lake", "intake", "runs", "extracts", "mlartifacts", "alerts", "monitoring", "validation"}
    assert tops >= {"dagster", "scores.db", "access.jsonl"}
    assert {name.split("/")[2] for name in before if name.startswith(f"lake/{NAME}/")} >= {"leads", "predictions"}
    others = pl.read_parquet(lived.lake.partition("predictions", LAST)).filter(pl.col("lead_id") != lead)
    with opened_instance(home) as instance:
        report = forget_lead(lived, instance, lead, who="Ada")
    assert report.remaining == ()
    assert holding(home.root, lead) == set()
    assert pl.read_parquet(lived.lake.partition("predictions", LAST)).equals(others)
    assert OTHER in repr(
        [pl.read_parquet(file)["lead_id"].to_list() for file in home.extracts(NAME).rglob("*.parquet")]
    )
    with opened_instance(home) as instance:
        [event] = instance.fetch_materializations(dg.AssetKey("shown"), limit=1).records
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["lead"].value == "(erased)"
        second = forget_lead(lived, instance, OTHER, who="Ada")
    assert second.remaining == ()
    assert holding(home.root, OTHER) == set()
