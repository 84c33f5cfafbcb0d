"""Explanations of a model trained on the tests' synthetic table, whose features no problem declares."""

from __future__ import annotations

import polars as pl

from elv_pipeline.decisions.explanations import Explanations, explanations
from elv_pipeline.decisions.reasons import ReasonSpec
from elv_pipeline.learning.training import TrainingResult, labelled_rows


def explained(result: TrainingResult, table: pl.DataFrame) -> Explanations:
    test = labelled_rows(table, result.plan).filter(pl.col("split") == "test")
    return explanations(result, test, spec=ReasonSpec(phrases={}), columns=[], timezone="UTC")
