"""The model as plain MLflow loads it: a table of features in, calibrated probabilities out.

Belongs here: the thin wrapper that MLflow stores as code beside the model file. Does not belong here: prediction
itself (``learning/bundle.py``). The part of this package that prediction needs lies beside the model, so loading it
takes the requirements listed with the model and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.pyfunc import PythonModel

from elv_pipeline.learning.bundle import ModelBundle


class CalibratedModel(PythonModel):  # type: ignore[misc]  # mlflow is not typed
    """Calibrated probability of the outcome within its window."""

    def load_context(self, context: Any) -> None:
        """Load the bundle once."""
        self.bundle = ModelBundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Probabilities, shape (rows,), in the order of the input rows."""
        return self.bundle.predict(pl.from_pandas(model_input))


mlflow.models.set_model(CalibratedModel())
