"""What readers changed or left out without an error, in words: counts by code, as a profile keeps them.

Belongs here: the words. Does not belong here: what is counted (readers and connectors), or rules that drop rows.
"""

from __future__ import annotations

_WORDS = {
    "clicks_above_impressions_kept": "rows with more clicks than impressions, kept",
    "clicks_are_all_clicks": "rows whose clicks count likes and expansions, too (no link clicks were exported)",
    "moved_to_the_leads_time_of_day": "outcomes that name only a day, placed at their lead's time of that day",
    "organic_leads": "organic leads, which no ad brought",
    "recorded_before_qualified": "rows recorded before they happened",
    "repeated_in_a_later_file": "rows repeated in a later file",
    "test_leads": "test leads of the form tool left out",
    "times_moved_out_of_clock_change": "times that the clock change skips, moved forward",
    "totals_row": "rows of totals left out, which no ad delivered",
    "value_without_outcome": "values above 0 of leads without a qualified_time, left out",
    "withdrawn": "outcomes withdrawn later",
}


def note_in_words(note: str, count: int) -> str:
    """One count as a phrase, such as ``test leads of the form tool left out: 3``."""
    return f"{_WORDS.get(note, note.replace('_', ' '))}: {count:,}"
