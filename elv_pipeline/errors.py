"""Errors a user can act on. Every one states value, place, rule and remedy; the command turns it into an exit code.

Belongs here: the exception types shared by all layers. Does not belong here: messages for one subject (they are
written where the rule lives) or handling (the command and the Dagster assets do that).
"""

from __future__ import annotations


class ElvError(Exception):
    """Base of every error whose cause lies in the input, the configuration or the state of the home folder.

    The message must name the value, the place, the rule and the remedy, e.g.
    ``ads.csv row 812: spend is -3.20; spend must be >= 0. Fix it or set contracts.ads.on_negative_spend: drop``.
    """

    exit_code = 1


class ConfigError(ElvError):
    """A configuration file is missing, malformed, or contradicts what the home folder remembers."""

    exit_code = 2


class ContractError(ElvError):
    """A table breaks its contract; nothing was written."""

    exit_code = 3


class TrainingRefusedError(ElvError):
    """There is not enough honest evidence to train; the message states the counts and the thresholds."""

    exit_code = 4


class ScoringRefusedError(ElvError):
    """A model cannot be used on these rows or with this configuration."""

    exit_code = 5


class MissingExtraError(ElvError):
    """An optional part or system library is not installed; the message is one sentence with the fix."""

    exit_code = 6


class PromotionRefusedError(ElvError):
    """A version cannot become the champion: a gate failed, it is not there, or nothing waits for approval."""

    exit_code = 7


class SourceError(ElvError):
    """A database cannot be reached, or refuses what was asked of it; nothing was read or written in part."""

    exit_code = 8


class HeldBackError(ElvError):
    """The inputs of a day are incomplete, so it was not scored on half its data; a later run catches it up."""

    exit_code = 9
