"""Computing one part of the feature plan, and putting parts together: what a worker does, on any engine.

Belongs here: from staged inputs to files of results. Does not belong here: what is in a part (``buckets.py``) or who
runs it (``spark_engine.py``).

Everything travels as files in the staging folder; between driver and workers go only numbers. Any part may be computed
twice, as engines do after a failure or beside a slow task: each result appears whole, by one rename, and is the same.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from elv_pipeline.tables.buckets import FeaturePlan, StagedInputs, chunk_of
from elv_pipeline.tables.features import KEY_COLUMNS

Kind = Literal["bucket", "stretch", "chunk"]
ORDER = ("day", "created_time", "lead_id")


@dataclass(frozen=True, kw_only=True)
class PartedPlan:
    """A feature plan over staged inputs, and where its results go.

    Attributes:
        plan: what is computed.
        staged: from which inputs.
        folder: an empty folder for results, which every worker sees under the same path.
        chunks: into how many files, by day, the table is written.
    """

    plan: FeaturePlan
    staged: StagedInputs
    folder: Path
    chunks: int

    def first_parts(self) -> list[tuple[Kind, int]]:
        """Parts that need nothing but the inputs, in any order."""
        stretches = range(len(self.staged.stretches))
        return [*(("bucket", number) for number in self.staged.buckets), *(("stretch", number) for number in stretches)]

    def last_parts(self) -> list[tuple[Kind, int]]:
        """Parts that need all the first ones: the table, one chunk of days each."""
        return [("chunk", number) for number in range(self.chunks if self.staged.buckets else 0)]

    def compute(self, kind: Kind, number: int) -> None:
        """Compute one part and leave its result in the folder. Atomic and idempotent."""
        compute = {"bucket": self._bucket, "stretch": self._stretch, "chunk": self._chunk}[kind]
        result = self.folder / f"{kind}-{number:05d}"
        staged = result.with_name(f".{result.name}.{uuid.uuid4().hex[:12]}")
        staged.mkdir(parents=True)
        try:
            compute(number, staged)
            _put(staged, result)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def table(self) -> pl.LazyFrame:
        """The feature table, once every part is computed."""
        files = [self.folder / f"{kind}-{number:05d}" / "rows.parquet" for kind, number in self.last_parts()]
        if not files:
            return self.plan.table(self.staged.nothing())
        return pl.scan_parquet(files)

    def _bucket(self, number: int, folder: Path) -> None:
        """One bucket of campaigns, cut into chunks of days."""
        table = self.plan.by_ids().table(self.staged.bucket(number))
        target = pl.PartitionBy(
            folder,
            key="chunk",
            include_key=False,
            approximate_bytes_per_file=None,
            file_path_provider=lambda arguments: f"{arguments.partition_keys['chunk'][0]}.parquet",
        )
        table.with_columns(self._number_of_chunk().alias("chunk")).sink_parquet(target, mkdir=True)

    def _stretch(self, number: int, folder: Path) -> None:
        """One stretch of days, in the order of days, so that a reader of some days skips the rest."""
        table = self.plan.over_time().table(self.staged.stretch(number))
        keys = [column for column in KEY_COLUMNS if column not in ("lead_id", "day")]
        table.drop(keys).sink_parquet(folder / "rows.parquet", maintain_order=True)

    def _chunk(self, number: int, folder: Path) -> None:
        """Some days of the whole table: their leads from every bucket, beside the same leads over time."""
        schema = self.plan.table(self.staged.nothing()).collect_schema()
        pieces = sorted(self.folder.glob(f"bucket-*/{number}.parquet"))
        table = pl.scan_parquet(pieces) if pieces else self.plan.by_ids().table(self.staged.nothing())
        stretches = sorted(self.folder.glob("stretch-*/rows.parquet"))
        if stretches:
            over_time = pl.scan_parquet(stretches).filter(self._number_of_chunk() == number).drop("day")
            table = table.join(over_time, on="lead_id", how="left", validate="1:1")
        ordered = table.select(schema.names()).sort(ORDER)
        ordered.sink_parquet(folder / "rows.parquet", maintain_order=True)

    def _number_of_chunk(self) -> pl.Expr:
        first, last = self._days()
        return chunk_of(pl.col("day"), first=first, last=last, count=self.chunks)

    def _days(self) -> tuple[date, date]:
        assert self.staged.days is not None  # a part exists only where leads do
        return self.staged.days


def _put(staged: Path, result: Path) -> None:
    try:
        staged.rename(result)
    except OSError:
        if not result.is_dir():  # else the same part was finished meanwhile, with the same content
            raise
