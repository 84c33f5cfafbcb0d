"""The words of a validation: what each table and rule is called for people who make exports, not software.

Belongs here: names, explanations and formats shared by the page's parts. Does not belong here: findings, which bring
their own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elv_pipeline.ingest.parsing.notes import note_in_words
from elv_pipeline.publishing.pages.content import moment

TABLES = {
    "ads": ("Ads", "what each ad delivered and cost, one row an ad and day"),
    "leads": ("Leads", "who filled in a form, one row a lead"),
    "outcomes": ("Outcomes", "which leads qualified, and when"),
    "lead_to_ad_map": ("Lead-to-ad map", "which ad a lead came from, where the leads export does not say"),
    "ads_placement": ("Placements", "delivery of each ad by placement and day"),
    "ads_geo": ("Regions", "delivery of each ad by country or region and day"),
    "adset_targeting": ("Targeting", "the interests that each ad set targets"),
    "ad_creatives": ("Creatives", "the kind of creative of each ad"),
}
ABSENT = {
    "ads": "without it there is no spend, no value per spend, and nothing about impressions and clicks",
    "outcomes": "without it nothing can be learned, only scored by a model trained elsewhere",
    "lead_to_ad_map": "needed only where leads carry no id of an ad",
    "ads_placement": "would let the model see where ads were shown",
    "ads_geo": "would let the model see in which regions ads were shown",
    "adset_targeting": "would let the model see what ad sets target",
    "ad_creatives": "would let the model tell images from videos",
}
CONNECTORS = {
    "canonical": "plain table",
    "meta_ads_manager": "Meta Ads Manager export",
    "meta_lead_form": "Meta lead form download",
}
RULES = {
    "duplicate": "repeat an earlier row",
    "never_so_far": "have no qualified_time: not qualified so far",
    "before_start": "lie before start_date",
    "unknown_lead": "belong to no lead of the leads export",
    "before_lead": "are dated before their lead",
    "of_dropped_lead": "belong to a lead that was dropped itself",
    "negative_spend": "have a spend below zero",
    "clicks_above_impressions": "have more clicks than impressions",
}
SHAPES = {
    "date": "dates without a time of day",
    "naive": "times without a time zone",
    "offset": "times with their own time zone",
}


def day(value: str | None) -> str:
    """An ISO date or moment as people write a day."""
    return moment(value[:10], timezone="UTC") if value else "not known"


def left_out_rules(table: Mapping[str, Any]) -> list[str]:
    """What was left out of a table and what was changed in it, one phrase each."""
    rules = [f"{count:,} {RULES.get(rule, rule.replace('_', ' '))}" for rule, count in table["dropped_rows"].items()]
    return [*rules, *(note_in_words(note, count) for note, count in table["notes"].items())]


def requirement(rule: Mapping[str, Any]) -> dict[str, Any]:
    """One requirement, ready to print: what is asked for, what was found, and how that counts."""
    if rule["name"] == "outcomes_export":
        found, required = "there" if rule["found"] else "not there", "needed"
    elif rule["unit"] == "share":
        found, required = f"{100 * rule['found']:.1f}%", f"at least {100 * rule['required']:.0f}%"
    else:
        found, required = f"{rule['found']:,.0f}", f"at least {rule['required']:,.0f}"
    tone = "good" if rule["passed"] else "stop" if rule["blocking"] else "care"
    return {"label": rule["label"], "found": found, "required": required, "tone": tone, "setting": rule["setting"]}
