"""Typed models of what is recommended of outreach, and of the language model that may word proposals.

Belongs here: what a user may set. Does not belong here: what is made of it (``decisions/recommend``), or asking a model
(``publishing/language_model.py``).
"""

from __future__ import annotations

from pydantic import Field

from elv_pipeline.settings_base import Strict


class LanguageModel(Strict):
    """A language model that words template edits: off, and never told a contact.

    ``key_variable`` names the environment variable that holds the key.
    """

    enabled: bool = False
    url: str = ""
    model: str = ""
    key_variable: str = Field(default="ELV_LANGUAGE_MODEL_KEY", pattern=r"^[A-Z][A-Z0-9_]*$")
    timeout_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    attempts: int = Field(default=3, ge=1, le=10)
    most_tokens: int = Field(default=1_000, ge=1)


class Recommend(Strict):
    """What is looked for in outreach.

    ``randomised_campaigns`` are campaigns to which contacts were sent by lot; only they can show an effect rather than
    suggest it. ``margin`` is the share of the alternatives' rate that matters, ``weeks`` over which a gain counts,
    ``effort_days`` the work until a change can be tested, by kind of change.
    """

    randomised_campaigns: tuple[str, ...] = ()
    horizon_days: int = Field(default=30, ge=1, le=365)
    margin: float = Field(default=0.1, gt=0, lt=1)
    weeks: float = Field(default=26.0, gt=0, le=520)
    effort_days: dict[str, float] = Field(default_factory=dict)
    language_model: LanguageModel = LanguageModel()
