"""Faults that happen inside a run: the process is killed at a chosen moment, or the database goes away.

Belongs here: where exactly each fault strikes. Does not belong here: when (``test_thirty_days.py``).

A kill is SIGKILL from inside: nothing is caught, flushed or cleaned up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def _die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_after(work: Callable[..., Any], *, times: int = 1, when: Callable[..., bool] = lambda *_: True) -> Any:
    """A function that does its work and, the so-many-th time that ``when`` holds, dies at once."""
    left = [times]

    def deadly(*arguments: Any, **named: Any) -> Any:
        result = work(*arguments, **named)
        if when(*arguments):
            left[0] -= 1
            if left[0] == 0:
                _die()
        return result

    return deadly


def in_extract(patch: pytest.MonkeyPatch) -> None:
    """Two of three tables are in their place, the record that makes them visible is not."""
    from elv_pipeline.ingest.extracts import extract

    patch.setattr(extract, "published", _die_after(extract.published, times=2))


def in_batches(patch: pytest.MonkeyPatch) -> None:
    """Rows are arriving: the file of a table is half full."""
    from elv_pipeline.ingest.extracts import extract

    patch.setattr(extract, "staged", _dying_midway(extract.staged))


def in_features(patch: pytest.MonkeyPatch) -> None:
    """The features are computed and staged; none is in its place."""
    from elv_pipeline import lake

    patch.setattr(
        lake, "_staged_days", _die_after(lake._staged_days, when=lambda folder: folder.parent.name == "features")
    )


def before_commit(patch: pytest.MonkeyPatch) -> None:
    """History and scores are written, the ledger is about to be, nothing is committed."""
    from elv_pipeline.publishing.scores import upsert as score_upsert

    patch.setattr(score_upsert, "_note", _die)


def after_commit(patch: pytest.MonkeyPatch) -> None:
    """Scores are committed, and nobody but the database knows."""
    from elv_pipeline.orchestration.assets import publishing as assets_publishing

    patch.setattr(assets_publishing, "write", _die_after(assets_publishing.write))


def in_training(patch: pytest.MonkeyPatch) -> None:
    """The candidate is registered; whether it deserves to score was not judged."""
    from elv_pipeline.publishing.registry.model_registry import ModelRegistry

    patch.setattr(ModelRegistry, "register", _die_after(ModelRegistry.register))


def in_telling(patch: pytest.MonkeyPatch) -> None:
    """What people are to be told is decided, and not in the outbox yet."""
    from elv_pipeline.publishing.alerting import telling

    patch.setattr(telling, "write_state", _die_after(telling.write_state))


KILLS = {
    found.__name__: found
    for found in (in_extract, in_batches, in_features, before_commit, after_commit, in_training, in_telling)
}


@contextmanager
def interrupted_read(interrupt: Callable[[], None]) -> Iterator[list[int]]:
    """The source goes away between two batches of the first table; yields how many batches had come, once it has."""
    from elv_pipeline.ingest.extracts import extract

    before: list[int] = []
    original = extract._stored

    def stored(frames: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        for number, frame in enumerate(original(frames, *arguments, **named), start=1):
            yield frame
            if number == 2 and not before:
                before.append(number)
                interrupt()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract, "_stored", stored)
        yield before


@contextmanager
def interrupted_write(interrupt: Callable[[], None]) -> Iterator[list[int]]:
    """The database of the scores goes away when everything is written and nothing committed; yields how often."""
    from elv_pipeline.publishing.scores import upsert as score_upsert

    struck: list[int] = []
    original = score_upsert._note

    def note(*arguments: Any, **named: Any) -> Any:
        if not struck:
            struck.append(1)
            interrupt()
        return original(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_upsert, "_note", note)
        yield struck


def _dying_midway(staged: Callable[..., Any]) -> Callable[..., Any]:
    def deadly(frames: Iterator[Any], **named: Any) -> Any:
        def some() -> Iterator[Any]:
            for number, frame in enumerate(frames):
                if number == 2:
                    _die()
                yield frame

        return staged(some(), **named)

    return deadly
