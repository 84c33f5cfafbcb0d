"""Resources: the home folder, the model to score with, and who listens to progress.

Belongs here: what runs may be configured with. Does not belong here: what assets do with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from elv_pipeline.errors import ConfigError, ScoringRefusedError

if TYPE_CHECKING:
    from elv_pipeline.orchestration.deployment import Deployment
    from elv_pipeline.publishing.registry.model_handle import ModelHandle

Listener = Callable[[str, str], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)


class ScoringModel(dg.ConfigurableResource):
    """Which model scores: the champion, unless a run names a model file."""

    model_path: str = ""

    def handle(self, deployment: Deployment) -> ModelHandle:
        """The model of this run.

        Raises:
            ScoringRefusedError: no champion yet, or the named file is not a model.
        """
        from elv_pipeline.publishing.registry.model_handle import model_from_file
        from elv_pipeline.publishing.registry.model_registry import ModelRegistry

        if self.model_path:
            return model_from_file(Path(self.model_path))
        champion = ModelRegistry(deployment.home).champion(deployment.name)
        if champion is None:
            raise ScoringRefusedError(
                f"{deployment.name}: there is no champion model yet. Run 'elv train' (where its candidate waits for a "
                f"person, 'elv approve'), or name a model with --model runs/<run_id>/model.joblib."
            )
        return champion


class TrainingOrigin(dg.ConfigurableResource):
    """As of which day a weekly run trains, where that is not the beginning of its week.

    One value for the whole run: table, candidate, gates, decision and report must be about the same origin.
    """

    as_of: str = ""

    def day(self, week: date) -> date:
        """The local day whose midnight is the run's origin.

        Args:
            week: partition key of the run: the weekly origin.

        Raises:
            ConfigError: ``as_of`` is no day (ISO 8601), or lies in another week.
        """
        if not self.as_of:
            return week
        try:
            day = date.fromisoformat(self.as_of)
        except ValueError as error:
            raise ConfigError(f"training_origin.as_of: {self.as_of!r} is no day; write it like {week}.") from error
        if not week <= day < week + timedelta(days=7):
            raise ConfigError(
                f"training_origin.as_of: {day} lies outside the week of the partition {week}, which ends before "
                f"{week + timedelta(days=7)}. Take the partition of its week, or leave as_of out to train as of {week}."
            )
        return day


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell ``listener(asset, note)`` about the progress of runs in this process."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def narrated(context: dg.AssetExecutionContext, what: str) -> Iterator[None]:
    """Log the beginning and the end of an asset's work, and tell the listener."""
    name, listener, start = context.asset_key.path[-1], _LISTENER.get(), time.monotonic()
    if listener:
        listener(name, what)
    yield
    context.log.info(f"{name}: {what} took {time.monotonic() - start:.2f} s")
