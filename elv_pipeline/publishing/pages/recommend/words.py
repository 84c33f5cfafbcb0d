"""What recommendations are called in front of a campaign manager, and the sentences with which their page begins.

Belongs here: names of kinds, states and labels, expected effects in words, the opening. Does not belong here: findings
and hypotheses, which bring their own sentences (``decisions/recommend``), or layout (``page.py``).

Nothing here may call anything better that chance did not decide: an expected change "may" come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elv_pipeline.publishing.pages.content import joined, money, number

Document = Mapping[str, Any]

KINDS = {
    "campaign": "Campaigns",
    "step": "Steps",
    "template": "Templates",
    "channel": "Channels",
    "timing": "Timings",
}
LABELS = {
    "observational": ("Observational", "care", "who got it was not drawn by lot, so this is a guess to be tested"),
    "randomised": ("Randomised", "good", "who got it was drawn by lot, so the difference is no accident of who got it"),
}
"""Name, tone and meaning of what an effect rests on."""
SURENESS = {
    "observational": "not yet; this is observational, and those who got it may have differed from the others",
    "randomised": "fairly; who got it was drawn by lot, and the test repeats it on today's volume",
}
STATES = {
    "draft": ("Draft", "unknown", "waits for a person to approve or reject it"),
    "approved": ("Approved", "care", "may be started"),
    "running": ("Running", "care", "its experiment runs; read its weekly looks"),
    "adopted": ("Adopted", "good", "decided: the change is rolled out in stages"),
    "rejected": ("Rejected", "unknown", "decided: things stay as they are"),
    "stopped": ("Stopped", "stop", "decided: the experiment was stopped and rolled back"),
}
OPEN = ("draft", "approved")
HOLDS_ZERO = "the interval reaches no effect or less, so it may also bring nothing"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What stands on top: tone, the word above, what to do first, why, how sure."""

    tone: str
    word: str
    first: str
    why: str = ""
    sure: str = ""


def outcome_words(outcome: str) -> str:
    """A column's name as people say it: ``booked_call_within_7d`` is a booked call within 7 days."""
    head, _, days = outcome.rpartition("_within_")
    if head and days.endswith("d") and days[:-1].isdigit():
        return f"{head.replace('_', ' ')} within {days[:-1]} days"
    return outcome.replace("_", " ")


def counted_words(proposal: Document) -> str:
    """The outcome of a proposal and its window."""
    return f"{outcome_words(proposal['outcome'])} within {proposal['window_days']} days"


def per_100(value: float) -> str:
    """A change of a rate, per 100."""
    return f"{100 * value:+.1f}"


def sample(proposal: Document) -> str:
    """How many stand behind it."""
    return f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{proposal['n']:,}"


def range_of(low: float, high: float) -> str:
    """An interval of changes of a rate, per 100."""
    return f"{per_100(low)} to {per_100(high)}"


def days_of_work(days: float) -> str:
    """An effort."""
    return "half a day of work" if days == 0.5 else f"{days:g} day{'' if days == 1 else 's'} of work"


def worth(entry: Document, value: float, *, currency: str) -> str:
    """A value of a proposal: money, or outcomes where these have no worth."""
    return money(value, currency=currency, digits=0) if entry["in_money"] else number(value, digits=0)


def worth_words(entry: Document, *, currency: str) -> str:
    """What a proposal may bring, with its interval."""
    middle, low, high = (worth(entry, entry[end], currency=currency) for end in ("value", "low", "high"))
    what = "" if entry["in_money"] else f" more with '{counted_words(entry['proposal'])}'"
    return f"{middle}{what} (95% interval {low} to {high})"


def opening(document: Document, *, change: Callable[[Document], str], currency: str) -> Opening:
    """The three sentences on top of the page; ``change`` says what a proposal would change."""
    waiting = [entry for entry in document["proposals"] if entry["state"] in OPEN]
    if not waiting:
        return _nothing_waits([*document["proposals"], *document.get("earlier", ())])
    entry = waiting[0]
    proposal = entry["proposal"]
    doubt = f"; {HOLDS_ZERO}" if proposal["low"] <= 0 else ""
    return Opening(
        tone=LABELS[proposal["label"]][1],
        word="What to do first",
        first=f"Test this first: {change(proposal)}.",
        why=f"Why: it may bring {worth_words(entry, currency=currency)} in {weeks_words(document)}{doubt}; it takes "
        f"about {days_of_work(entry['effort_days'])}.",
        sure=f"How sure: {SURENESS[proposal['label']]} ({sample(proposal)}). {_experiment_words(proposal)}",
    )


def weeks_words(document: Document) -> str:
    """The time over which a gain counts."""
    weeks = document.get("weeks")
    return f"{weeks:g} weeks" if weeks else "the weeks that count"


def remark_of(proposal: Document) -> str:
    """Why there is no experiment, or what it cannot find; the proposal's own name is left out of it."""
    return str(proposal["remark"]).replace(f"proposal-{proposal['id']}: ", "")


def state_counts(proposals: Sequence[Document]) -> str:
    """How many proposals are where, in the order of their life."""
    counts = {state: sum(entry["state"] == state for entry in proposals) for state in STATES}
    return joined([f"{count} {state}" for state, count in counts.items() if count]) or "none yet"


def _nothing_waits(proposals: Sequence[Document]) -> Opening:
    """Where no proposal is a draft or approved; those of earlier runs count, too."""
    if not proposals:
        return Opening(
            tone="unknown",
            word="Nothing to do first",
            first="There is nothing to test now.",
            why="Why: no change that could be estimated is expected to bring more of the outcome.",
            sure="How sure: what could not be judged, and why, stands at the end of this page.",
        )
    running = sum(entry["state"] == "running" for entry in proposals)
    return Opening(
        tone="good",
        word="Nothing waits for you",
        first="Every proposal is running or decided." if running else "Every proposal is decided.",
        why=f"Where they are: {state_counts(proposals)}.",
        sure="Read the weekly looks of what runs with 'elv experiment analyse'." if running else "",
    )


def _experiment_words(proposal: Document) -> str:
    plan = proposal["plan"]
    if plan is None:
        return remark_of(proposal)
    derived, design = plan["derived"], plan["design"]
    found = (
        f"An experiment of {derived['total_weeks']} weeks with {derived['units']:,.0f} {design['unit']}s would find "
        f"a change of {100 * derived['detectable']:.1f} per 100 or more in {design['power']:.0%} of cases"
    )
    if derived["detectable"] <= proposal["gain"]:
        return f"{found}."
    return f"{found}; {100 * proposal['gain']:.1f} are expected, so that 'not shown' would mean little."
