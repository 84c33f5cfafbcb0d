"""What campaigns and steps are called: their names beside their ids, wherever the page speaks of them.

Belongs here: names from the document. Does not belong here: sentences (``words.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from elv_pipeline.publishing.pages.recommend.words import Document


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the elements that people know by another name than their id."""

    campaigns: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, str] = field(default_factory=dict)

    def element(self, kind: str, element: str) -> str:
        """An element as people call it; the id stays with it, as it is what the tables have."""
        known = {"campaign": self.campaigns, "step": self.steps}.get(kind, {})
        return known.get(element, element)

    def campaign(self, campaign_id: str) -> str:
        """A campaign as people call it."""
        return self.campaigns.get(campaign_id, campaign_id)

    def change(self, proposal: Document) -> str:
        """What a proposal would change, with names in place of bare ids."""
        kind, element, change = (str(proposal[name]) for name in ("kind", "element", "change"))
        if change.startswith(f"{element} "):
            return f"{kind} '{self.element(kind, element)}'{change.removeprefix(element)}"
        campaign_id = element.split("/")[0]
        if change.startswith(f"in {campaign_id} "):
            return f"in {self.campaign(campaign_id)} {change.removeprefix(f'in {campaign_id} ')}"
        return change


def names_of(document: Document) -> Names:
    """The names that a document of recommendations holds."""
    plain = {row["campaign_id"]: row["name"] for row in document["campaigns"]}
    return Names(
        campaigns={key: _named(name, key) for key, name in plain.items()},
        steps={
            row["step_id"]: _named(
                f"{plain.get(row['campaign_id'], row['campaign_id'])} {row['position']}", row["step_id"]
            )
            for row in document["steps"]
        },
    )


def _named(name: str, key: str) -> str:
    return key if name == key else f"{name} ({key})"
