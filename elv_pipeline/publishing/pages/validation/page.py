"""The validation as one HTML page that opens offline, for the person who made the exports.

Belongs here: what the page shows and in which order. Does not belong here: the facts
(``ingest/review/profile.py``), the figures (``charts.py``), the tables (``tables.py``), or writing files (run_bundle).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from elv_pipeline.ingest.review.data_checks import DATA_CHECKS
from elv_pipeline.ingest.review.outcome_values import values_in_words
from elv_pipeline.publishing.pages.content import number, percent
from elv_pipeline.publishing.pages.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.pages.validation.charts import match_chart, outcome_chart, rows_chart
from elv_pipeline.publishing.pages.validation.tables import columns_table, coverage_table, methods_table, times_table
from elv_pipeline.publishing.pages.validation.words import ABSENT, CONNECTORS, TABLES, day, left_out_rules, requirement

TONES = {"ready": "good", "ready with warnings": "care", "not ready": "stop"}
PURPOSES = {"train": "To train a model", "score": "To score leads"}
ALL_MET = {"train": "Everything that training needs is there.", "score": "Everything that scoring needs is there."}


def render_validation(profile: Mapping[str, Any]) -> str:
    """Return the page of a data profile (``ingest.review.profile.profile_of``); same profile, same text."""
    figures = {figure.key: figure for figure in _figures(profile)}
    return rendered_page(
        "validation.html.j2",
        figures,
        profile=profile,
        tone=TONES[profile["verdict"]],
        purposes=[_purpose(name, verdict) for name, verdict in profile["readiness"].items()],
        tiles=_tiles(profile),
        cards=[_card(name, table, profile) for name, table in profile["tables"].items()],
        broken=[(TABLES[name][0], message) for name, message in profile["errors"].items()],
        absent=[(TABLES[name][0], ABSENT[name]) for name in profile["absent"] if name in ABSENT],
        checks=_checks(profile),
        remarks=[finding for finding in profile["findings"] if finding["severity"] == "info"],
        outcomes=_outcomes(profile),
        matches=methods_table(profile["matching"]),
        coverage=coverage_table(profile["id_coverage"]),
        times=times_table(profile["times"], timezone=profile["timezone"]),
        day=day,
    )


def _figures(profile: Mapping[str, Any]) -> Iterable[Figure]:
    matching, maturity = profile["matching"], profile["maturity"]
    late = [finding for finding in profile["findings"] if finding["code"] == "late_outcome_log"]
    suggested = late[0]["suggests"] if late else ""
    reason = "an export breaks its contract"
    draw = partial(outcome_chart, suggested_from=suggested)
    yield drawn("outcomes", "Outcomes by week", maturity, draw, reason=reason)
    # Where every lead is tied in the same way, the figure would be one wall of colour.
    varied = matching is not None and sum(1 for count in matching["by_method"].values() if count["leads"]) > 1
    if matching is not None and (varied or matching["rate"] < 1):
        draw_matches = partial(
            match_chart, threshold=profile["minimum_data"]["match_rate"], overall=float(matching["rate"])
        )
        yield drawn("matches", "Matches by week", matching["weeks"], draw_matches, reason="there are no leads")
    for name, table in profile["tables"].items():
        if table["rows_over_time"]:
            yield drawn(f"rows_{name}", "Rows", table["rows_over_time"], rows_chart, reason="the table has no days")


def _purpose(name: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    reasons = "; ".join(verdict["reasons"])
    return {
        "title": PURPOSES[name],
        "word": verdict["verdict"],
        "tone": TONES[verdict["verdict"]],
        "sentence": f"{reasons[0].upper()}{reasons[1:]}." if reasons else ALL_MET[name],
        "rules": [requirement(rule) for rule in verdict["rules"]],
    }


def _tiles(profile: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, what it is about."""
    maturity, matching = profile["maturity"], profile["matching"]
    if maturity is None or matching is None:
        return []
    judged = maturity["positive"] + maturity["negative"]
    rate = percent(maturity["positive"] / judged, digits=1) if judged else None
    known = f"{judged:,} leads have a known outcome" + (f", {rate} of them qualified" if rate else "")
    against = "have an id that the ads export knows" if matching["against"] else "carry the id of an ad or campaign"
    return [
        ("Leads", number(maturity["leads"], digits=0), f"{day(profile['first_day'])} to {day(profile['last_day'])}"),
        ("Qualified", number(maturity["positive"], digits=0), known),
        ("Matched to ads", percent(matching["rate"], digits=1), f"of all leads {against}"),
        (
            "Too young to judge",
            number(maturity["young"], digits=0),
            f"the last one on {day(maturity['last_matures_on'])}",
        ),
    ]


def _outcomes(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both ends of the time for which outcomes are known, in words."""
    found = profile["maturity"]
    if found is None or "outcomes" in profile["absent"]:
        return None
    about = {finding["code"]: finding for finding in profile["findings"]}
    start = day(found["observed_from"])
    if found["observed_from"]:
        begin = (
            f"The configuration says that outcomes were recorded from {start}. The {found['unrecorded']:,} leads "
            f"created before it count as unknown, not as leads that did not qualify."
        )
    elif "late_outcome_log" in about:
        begin = about["late_outcome_log"]["message"]
    else:
        begin = "Outcomes seem to be recorded for as long as there are leads, so no lead is left out for that reason."
    remedy = about["late_outcome_log"]["remedy"] if "late_outcome_log" in about else ""
    end = (
        f"Outcomes are known until {day(found['observed_until'])}. A lead is judged after {found['window_days']} days, "
        f"so {found['young']:,} leads created after {day(found['mature_until'])} are too young. The last of them "
        f"can be judged on {day(found['last_matures_on'])}."
    )
    silent = [about[code] for code in ("outcomes_end_early", "lonely_newest_moment") if code in about]
    return {"begin": begin, "begin_remedy": remedy, "end": end, "warnings": silent}


def _card(name: str, table: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """One table: what it is, what it holds, what is wrong with it."""
    title, meaning = TABLES[name]
    about = [finding for finding in profile["findings"] if finding["table"] == name]
    warnings = [finding for finding in about if finding["severity"] == "warning"]
    columns = table["expected_columns"]
    return {
        "name": name,
        "title": title,
        "meaning": meaning,
        "table": table,
        "warnings": warnings,
        "tone": "care" if warnings else "good",
        "figure": f"rows_{name}" if table["rows_over_time"] else None,
        "facts": [*_facts(table), *(_value_facts(profile) if name == "outcomes" else [])],
        "required": [column["name"] for column in columns if column["required"]],
        "optional": [column["name"] for column in columns if not column["required"] and column["present"]],
        "not_there": [column["name"] for column in columns if not column["required"] and not column["present"]],
        "left_out": left_out_rules(table),
        "columns": columns_table(table),
    }


def _facts(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The figures of one table: label, value, explanation."""
    left = table["rows_read"] - table["rows"]
    share = f"of {table['rows_read']:,} in the file" if left else "every row of the file"
    facts = [("Rows loaded", f"{table['rows']:,}", share)]
    if table["first_day"]:
        missing = table["missing_days"]
        gaps = "; ".join(_gap(gap) for gap in table["gaps"][:2])
        facts += [
            ("Days", _span(table), _reach(table)),
            ("Days without rows", f"{missing:,}", f"longest: {gaps}" if gaps else "no gaps"),
        ]
    facts.append(("Repeated rows", f"{table['duplicates_dropped']:,}", "dropped, the first of each was kept"))
    currency = f"amounts in {table['currency']}" if table["currency"] else "the file names no currency"
    if any(column["name"] == "spend" for column in table["expected_columns"]):
        facts.append(("Currency", table["currency"] or "not named", currency))
    facts.append(("Read as", CONNECTORS.get(table["connector"], table["connector"]), "format of the file"))
    return facts


def _span(table: Mapping[str, Any]) -> str:
    first, last = table.get("days_with_rows") or (table["first_day"], table["last_day"])
    return f"{day(first)} to {day(last)}"


def _reach(table: Mapping[str, Any]) -> str:
    covered = table.get("covered_until")
    return f"first and last day with rows; read up to {day(covered)}" if covered else "first and last day with rows"


def _value_facts(profile: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """How many outcomes carry a value, and how it is spread."""
    found = profile.get("values")  # a profile of an older home has none
    if not found:
        return []
    spread = values_in_words(found, currency=profile["currency"]) or "too few to describe"
    return [("With a value", f"{found['known']:,} of {found['outcomes']:,}", spread)]


def _gap(gap: Mapping[str, Any]) -> str:
    if gap["days"] == 1:
        return day(gap["first"])
    return f"{day(gap['first'])} to {day(gap['last'])} ({gap['days']:,} days)"


def _checks(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    specs = {spec.name: spec for spec in DATA_CHECKS}
    tones = {"error": "stop", "warning": "care"}
    return [
        {
            "title": specs[check["name"]].title,
            "tone": "good" if check["passed"] else tones.get(check["severity"], "unknown"),
            "sentence": check["sentence"],
        }
        for check in profile["checks"]
    ]
