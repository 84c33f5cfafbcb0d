"""The model bundle: estimator, calibrator, feature schema and metadata in one file.

Belongs here: predicting with a model, and refusing to where it does not fit the rows or the configuration. Does not
belong here: where bundles lie, or which of them is the champion.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import MissingExtraError, ScoringRefusedError
from elv_pipeline.learning.calibration import Calibrator, calibrator_from_dict
from elv_pipeline.learning.columns import schema_problems
from elv_pipeline.learning.estimators import Estimator, estimator_from_dict
from elv_pipeline.learning.spec import LearningSpec

REQUIRED_METADATA = ("cutoff", "outcome_window_days", "feature_lag_days", "timezone", "segment_error")
ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class FeatureSchema:
    """The feature columns and their dtypes as they were at fit, numeric ones first."""

    numeric: Mapping[str, str]
    categorical: Mapping[str, str]

    @classmethod
    def of(cls, table: pl.DataFrame, *, spec: LearningSpec) -> Self:
        """Freeze the schema of a training table."""
        return cls(
            {name: str(table.schema[name]) for name in spec.numeric_features},
            {name: str(table.schema[name]) for name in spec.categorical_features},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the model's order."""
        return (*self.numeric, *self.categorical)


class ModelBundle:
    """Everything that scoring needs. Pickles as one JSON document, so equal models are equal bytes.

    Attributes:
        estimator: makes the raw margin.
        calibrator: turns it into a probability.
        schema: the feature columns, frozen at fit.
        metadata: JSON values: target, cutoff, outcome_window_days, feature_lag_days, model_type, calibration_method,
            seed, timezone, split, segment_error, training_rows, training_positives, base_rate, features, and whatever
            the caller adds.
    """

    def __init__(
        self, *, estimator: Estimator, calibrator: Calibrator, schema: FeatureSchema, metadata: Mapping[str, Any]
    ) -> None:
        self.estimator = estimator
        self.calibrator = calibrator
        self.schema = schema
        self.metadata: dict[str, Any] = json.loads(_canonical(metadata))

    def predict(self, table: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the calibrated probability of each row; needs the feature columns only.

        Raises:
            ScoringRefusedError: a feature column is missing or of the wrong kind.
        """
        self.check_columns(table)
        features = table.select(self.schema.names)
        parts = [self.estimator.margin(part) for part in features.iter_slices(ROWS_AT_ONCE)] if table.height else []
        return self.calibrator.predict(np.concatenate([np.empty(0), *parts]))

    def check_columns(self, table: pl.DataFrame) -> None:
        """Refuse a frame whose feature columns differ from training; further columns are ignored.

        Raises:
            ScoringRefusedError: listing missing columns and wrong kinds of columns, the first ten of many.
        """
        problems = schema_problems(table, numeric=list(self.schema.numeric), categorical=list(self.schema.categorical))
        if problems:
            raise ScoringRefusedError(
                f"the rows to score do not fit the model of {self.metadata.get('target')} trained as of "
                f"{self.metadata.get('cutoff')}; {len(problems)} of {len(self.schema.names)} feature columns differ:\n"
                + "\n".join(_shortened(problems))
                + "\nBuild the features with the configuration the model was trained with (the same exports, ids and "
                "lag), or train anew."
            )

    def require_compatible(
        self, *, outcome_window_days: int, feature_lag_days: int, target: str, timezone: str
    ) -> None:
        """Refuse a model that was trained for something else than the configuration says.

        In another time zone the hour, the weekday and the day that a lead's features reach back to mean other things.

        Raises:
            ScoringRefusedError: listing every contradiction.
        """
        wanted = {
            "target": target,
            "outcome_window_days": outcome_window_days,
            "feature_lag_days": feature_lag_days,
            "timezone": timezone,
        }
        differing = [
            f"- {name}: model {self.metadata.get(name)!r}, configuration {value!r}"
            for name, value in wanted.items()
            if self.metadata.get(name) != value
        ]
        if differing:
            raise ScoringRefusedError(
                "the model contradicts the configuration:\n"
                + "\n".join(differing)
                + "\nScore with a model trained under this configuration, or with the model's configuration"
            )

    def save(self, path: Path) -> None:
        """Write one joblib file, atomically: readers see the old file or the new one, never a part."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                joblib.dump(self, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.chmod(0o644)  # a temporary file is private; a model is read by other accounts, too
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> ModelBundle:
        """Read a file that ``save`` wrote. Like every pickle it can run code: load only models you trust.

        Raises:
            ScoringRefusedError: no such file, not readable, not a bundle, or without one of ``REQUIRED_METADATA``.
            MissingExtraError: the model needs a library that cannot be loaded.
        """
        path = Path(path)
        if not path.is_file():
            raise ScoringRefusedError(f"{path}: there is no such model file; train one or correct --model")
        try:
            bundle = joblib.load(path)
        except MissingExtraError:
            raise
        except Exception as error:  # unpickling foreign bytes can raise anything
            raise ScoringRefusedError(
                f"{path}: cannot be read as a model bundle ({type(error).__name__}: {error}); "
                "use a model.joblib written by this pipeline, or train anew"
            ) from error
        if not isinstance(bundle, ModelBundle):
            raise ScoringRefusedError(
                f"{path}: holds a {type(bundle).__name__}, not a model bundle; use a model.joblib of this pipeline"
            )
        lacking = [name for name in REQUIRED_METADATA if bundle.metadata.get(name) is None]
        if lacking:
            raise ScoringRefusedError(
                f"{path}: its metadata lack {', '.join(lacking)}, without which nobody can tell what its scores mean; "
                "train anew"
            )
        return bundle

    def __reduce__(self) -> tuple[Any, ...]:
        document = {
            "estimator": self.estimator.to_dict(),
            "calibrator": self.calibrator.to_dict(),
            # As lists of pairs, because sorted keys forget the order of the columns.
            "numeric": list(self.schema.numeric.items()),
            "categorical": list(self.schema.categorical.items()),
            "metadata": self.metadata,
        }
        return _restore, (_canonical(document),)


def _shortened(problems: list[str], *, most: int = 10) -> list[str]:
    """The first differences, and how many more there are: a hundred lines hide what they have in common."""
    if len(problems) <= most:
        return problems
    prefixes = sorted({problem.removeprefix("- ").split("_")[0] + "_*" for problem in problems})
    return [*problems[:most], f"- and {len(problems) - most} more; all of them: {', '.join(prefixes)}"]


def _restore(text: str) -> ModelBundle:
    document = json.loads(text)
    return ModelBundle(
        estimator=estimator_from_dict(document["estimator"]),
        calibrator=calibrator_from_dict(document["calibrator"]),
        schema=FeatureSchema(dict(document["numeric"]), dict(document["categorical"])),
        metadata=document["metadata"],
    )


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
