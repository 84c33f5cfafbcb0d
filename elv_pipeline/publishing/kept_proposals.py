"""Proposals as they were recommended, kept beside the log of their life, one file each.

Belongs here: keeping, finding and reading them. Does not belong here: the log (``proposals_log.py``), or which moves
are legal (``decisions/recommend/lifecycle.py``).

While a proposal is a draft, each run replaces it by what is known then. From its approval on it stays as it was
approved, with its plan: a plan that moved with the data would let results choose their own boundaries. Bundles of old
runs may be removed; what a person approved is not in them alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from elv_pipeline.decisions.recommend.lifecycle import LifecycleError, Transition
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.publishing.proposals_log import locked, proposal_states, record_drafts

_SCHEMA = 1
_LEAST_OF_AN_ID = 4


@dataclass(frozen=True, kw_only=True)
class KeptProposal:
    """A proposal, and where it is in its life.

    Attributes:
        name: of the configuration.
        log: where its life is recorded.
        as_of: day on which it was recommended as it stands here, ISO 8601.
        entry: the ranked proposal as the document of recommendations has it, its state included.
        last: its last transition.
    """

    name: str
    log: Path
    as_of: str
    entry: Mapping[str, Any]
    last: Transition

    @property
    def id(self) -> str:
        """Of the proposal."""
        return self.last.proposal_id

    @property
    def proposal(self) -> Mapping[str, Any]:
        """``Proposal.document()``."""
        return dict(self.entry["proposal"])


def log_of(folder: Path) -> Path:
    """The log of a configuration's proposals (``Home.proposals``)."""
    return folder / "log.jsonl"


def keep_proposals(
    folder: Path, entries: Iterable[Mapping[str, Any]], *, as_of: str, why: str, now: datetime
) -> dict[str, Transition]:
    """Keep the proposals of a run, new ones as drafts. Atomic each; idempotent.

    Args:
        folder: of the configuration's proposals.
        entries: ranked proposals, each with ``proposal``.
        as_of: day of the run, ISO 8601; a draft that is kept from a later day stays.
        why: which run proposed them.
        now: moment of the run.

    Returns:
        The last transition of each.
    """
    wanted = {str(entry["proposal"]["id"]): entry for entry in entries}
    log = log_of(folder)
    # The files come first: a draft in the log without a file could be approved without a plan.
    with locked(log):
        known = proposal_states(log)
        for key in sorted(wanted):
            if key not in known or known[key].state == "draft":
                _keep(folder, key, wanted[key], as_of=as_of)
    return record_drafts(log, wanted, why=why, now=now)


def kept_proposals(folder: Path) -> list[KeptProposal]:
    """Every proposal of a configuration that is on record, by id.

    Raises:
        LifecycleError: the log or a proposal was edited into something impossible, or a file is missing.
    """
    log = log_of(folder)
    return [_read(folder, last) for _, last in sorted(proposal_states(log).items())]


def kept_in(home: Home, *, name: str = "") -> list[KeptProposal]:
    """Every proposal of a home, or of one configuration of it, by configuration and id.

    Raises:
        ConfigError: nothing was ever recommended for that configuration.
    """
    folders = sorted(log.parent for log in home.proposals("x").parent.glob(f"*/{log_of(Path()).name}"))
    if name and name not in {folder.name for folder in folders}:
        known = ", ".join(folder.name for folder in folders) or "none yet"
        raise ConfigError(
            f"--name {name}: no proposal of that configuration is on record (there are those of: {known}). Correct the "
            f"name, or run 'elv recommend' first."
        )
    return [kept for folder in folders if name in ("", folder.name) for kept in kept_proposals(folder)]


def find_proposal(home: Home, key: str, *, name: str = "") -> KeptProposal:
    """The proposal with an id, or whose id begins with it.

    Raises:
        ConfigError: there is none, or more than one.
    """
    wanted = key.strip().lower()
    begins = len(wanted) >= _LEAST_OF_AN_ID
    known = kept_in(home, name=name)
    found = [kept for kept in known if kept.id == wanted or (begins and kept.id.startswith(wanted))]
    if not found:
        raise ConfigError(
            f"there is no proposal {key!r} among the {len(known)} on record in {home.root}. 'elv proposals list' shows "
            f"them with their ids."
        )
    if len(found) > 1:
        places = ", ".join(f"{kept.id} of {kept.name}" for kept in found)
        raise ConfigError(f"{key!r} may be {places}. Give the whole id, and --name where two configurations know it.")
    return found[0]


def _keep(folder: Path, key: str, entry: Mapping[str, Any], *, as_of: str) -> None:
    file = _file(folder, key)
    if file.is_file() and str(_parsed(file)["as_of"]) > as_of:
        return
    document = {"schema": _SCHEMA, "as_of": as_of, "entry": dict(entry)}
    write_atomically(file, json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _read(folder: Path, last: Transition) -> KeptProposal:
    file = _file(folder, last.proposal_id)
    if not file.is_file():
        raise LifecycleError(
            f"{file}: the proposal is in the log, and its file is not there. Restore it from a copy of the home; while "
            f"it is a draft, 'elv recommend' writes it again."
        )
    document = _parsed(file)
    return KeptProposal(
        name=folder.name,
        log=log_of(folder),
        as_of=str(document["as_of"]),
        entry={**document["entry"], "state": last.state},
        last=last,
    )


def _parsed(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    fits = isinstance(document, dict) and document.get("schema") == _SCHEMA and {"as_of", "entry"} <= set(document)
    if not fits:
        raise LifecycleError(f"{file}: this is no proposal of this version. Restore the file from a copy.")
    return dict(document)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"
