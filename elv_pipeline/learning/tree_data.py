"""Rows as LightGBM reads them: binned block by block, so that the numbers of all rows are never in memory twice.

Belongs here: the hand-over of a polars frame to LightGBM. Does not belong here: parameters, or what an encoding is.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

FloatArray = npt.NDArray[np.float64]
BLOCK_ROWS = 20_000
# Bin edges are quantiles of so many rows: 800 a bin, and the sample is the largest thing in memory beside the frame.
EDGE_ROWS = 50_000


class Encoder(Protocol):
    """What turns a frame into numbers; the categorical columns follow the numeric ones."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    def encode(self, table: pl.DataFrame) -> FloatArray:
        """Return rows x features."""

    def parameters(self, rows: int) -> dict[str, Any]:
        """Return LightGBM's parameters."""


def binned_rows(
    lightgbm: ModuleType,
    encoder: Encoder,
    table: pl.DataFrame,
    y: npt.NDArray[np.int8],
    weight: FloatArray | None,
) -> Any:
    """Return a constructed LightGBM Dataset that does not hold on to the frame."""

    class Blocks(lightgbm.Sequence):  # type: ignore[name-defined, misc]
        """The encoded rows; keeps the last block, because LightGBM asks for the sampled rows one by one."""

        batch_size = BLOCK_ROWS

        def __init__(self) -> None:
            self.first = -1
            self.block: FloatArray = np.empty((0, 0))

        def __len__(self) -> int:
            return table.height

        def __getitem__(self, index: int | slice) -> FloatArray:
            if isinstance(index, slice):
                return encoder.encode(table[index])
            first = int(index) // BLOCK_ROWS * BLOCK_ROWS
            if first != self.first:
                self.first, self.block = first, np.ascontiguousarray(encoder.encode(table.slice(first, BLOCK_ROWS)))
            row: FloatArray = self.block[int(index) - first]
            return row

    # Neutral names: LightGBM refuses some characters that column names may contain.
    names = [f"f{position}" for position in range(len(encoder.numeric) + len(encoder.categorical))]
    data = lightgbm.Dataset(
        Blocks(),
        label=y,
        weight=weight,
        feature_name=names,
        categorical_feature=names[len(encoder.numeric) :],
        # The search tries several sizes of leaves on the same bins, so none may be assumed here.
        params={**encoder.parameters(len(y)), "bin_construct_sample_cnt": EDGE_ROWS, "feature_pre_filter": False},
        free_raw_data=True,
    )
    return data.construct()
