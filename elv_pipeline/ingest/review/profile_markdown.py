"""The data profile in words: what a bundle, an asset's page and a ticket show.

Belongs here: Markdown of the document. Does not belong here: the document (``profile``) or the page
(``publishing/pages/validation/page.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from elv_pipeline.ingest.review.data_checks import DATA_CHECKS
from elv_pipeline.ingest.review.outcome_values import values_in_words
from elv_pipeline.ingest.review.outreach_profile import outreach_profile_markdown


def profile_markdown(content: Mapping[str, Any]) -> str:
    """The profile for people; keys that an older document lacks are left out."""
    if content.get("problem") == "outreach":
        return outreach_profile_markdown(content)
    lines = [f"# Data profile of {content['name']}", "", *_summary(content), ""]
    lines += _readiness(content["readiness"])
    if content.get("fix_first"):
        lines += ["## Fix first", "", *_actions(content["fix_first"])]
    if content.get("checks"):
        lines += ["## Checks", "", *_checks(content["checks"])]
    lines += ["## Findings", ""]
    for finding in content["findings"]:
        remedy = f" *{_text(finding['remedy'])}*" if finding["remedy"] else ""
        lines.append(f"- **{finding['severity']}** `{finding['code']}`: {_text(finding['message'])}{remedy}")
    if not content["findings"]:
        lines.append("- none")
    lines += ["", *_outcomes(content), *_matches(content.get("matching"))]
    lines += _coverage(content.get("id_coverage") or ())
    for name, table in content["tables"].items():
        lines += _table_lines(name, table)
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary(content: Mapping[str, Any]) -> list[str]:
    lines = []
    if "verdict" in content:
        lines += [f"**{content['verdict'].capitalize()}.**", ""]
    for message in (content.get("errors") or {}).values():
        lines += [f"- {_text(message)}"]
    if content["first_day"]:
        start = f", recorded from {content['observed_from']}." if content["observed_from"] else "."
        lines.append(
            f"Days {content['first_day']} to {content['last_day']} ({content['timezone']}); outcomes known until "
            f"{content['observed_until']}{start}"
        )
    return lines


def _readiness(verdicts: Mapping[str, Any]) -> list[str]:
    lines = ["## Ready?", ""]
    for what, verdict in verdicts.items():
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in verdict["counts"].items())
        why = "; ".join(verdict["reasons"])
        word = verdict.get("verdict") or ("ready" if verdict["ready"] else "not ready")
        lines.append(
            f"- to {what}: **{word}**" + (f" ({counts})" if counts else "") + (f": {_text(why)}" if why else "")
        )
    rules = [rule for verdict in verdicts.values() for rule in verdict.get("rules", ())]
    if rules:
        lines += ["", "| requirement | required | found | met | setting |", "|---|---|---|---|---|"]
        lines += [
            f"| {rule['label']} | {amount(rule, 'required')} | {amount(rule, 'found')} | "
            f"{'yes' if rule['passed'] else '**no**'} | {rule['setting']} |"
            for rule in rules
        ]
    return [*lines, ""]


def amount(rule: Mapping[str, Any], side: str) -> str:
    """What a rule requires or found, as a count or a share."""
    value = rule[side]
    return f"{100 * value:.1f} %" if rule["unit"] == "share" else f"{value:,.0f}"


def _actions(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for place, action in enumerate(actions, start=1):
        leads = f" ({action['leads']:,} leads)" if action["leads"] else ""
        kind = "blocks: " if action["blocking"] else ""
        lines.append(f"{place}. **{_text(action['what'])}** {kind}{_text(action['why'])}{leads}")
    return [*lines, ""]


def _checks(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    titles = {spec.name: spec.title for spec in DATA_CHECKS}
    lines = ["| check | answer |", "|---|---|"]
    lines += [
        f"| {titles[check['name']]} | {'ok' if check['passed'] else check['severity']}: {_text(check['sentence'])} |"
        for check in checks
    ]
    return [*lines, ""]


def _outcomes(content: Mapping[str, Any]) -> list[str]:
    found, values = content.get("maturity"), content.get("values")
    if not found:
        return []
    start = found["observed_from"] or "not set"
    return [
        "## Outcomes",
        "",
        f"- Recorded from: {start}; leads created before it: {found['unrecorded']:,}.",
        f"- Known until: {found['observed_until']}; leads whose window of {found['window_days']} days was still open "
        f"then: {found['young']:,}; the last of them has an outcome on {found['last_matures_on']}.",
        f"- Qualified {found['positive']:,}, not qualified {found['negative']:,}, unclear {found['unclear']:,}.",
        *([_values(values, currency=content["currency"])] if values else []),
        "",
    ]


def _values(found: Mapping[str, Any], *, currency: str) -> str:
    spread = values_in_words(found, currency=currency)
    return f"- Outcomes with a value: {found['known']:,} of {found['outcomes']:,}{'; ' + spread if spread else ''}."


def _matches(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return []
    lines = ["## Leads tied to ads", "", "| by | leads | matched |", "|---|---|---|"]
    lines += [
        f"| {method} | {counts['leads']:,} | {counts['matched']:,} |" for method, counts in found["by_method"].items()
    ]
    return [*lines, f"| all | {found['leads']:,} | {found['matched']:,} |", ""]


def _coverage(pairs: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"| {pair['table']}.{pair['column']} | {pair['found_in']} | {pair['found']:,} of {pair['total']:,} "
        f"{pair['of']} | {_text(', '.join(pair['missing']))} |"
        for pair in pairs
    ]
    if not lines:
        return []
    head = ["## Ids found", "", "| id | looked up in | found | not found, for example |", "|---|---|---|---|"]
    return [*head, *lines, ""]


def _table_lines(name: str, table: Mapping[str, Any]) -> list[str]:
    days = table.get("days_with_rows") or [table["first_day"], table["last_day"]]
    span = f", {days[0]} to {days[1]}" if table["first_day"] else ""
    span += f", read up to {table['covered_until']}" if table.get("covered_until") else ""
    dropped = ", ".join(f"{rule} {count:,}" for rule, count in table["dropped_rows"].items()) or "none"
    ignored = ", ".join(_text(column) for column in table["dropped_columns"]) or "none"
    lines = ["", f"## {name}", "", f"`{table['file']}`: {table['rows']:,} of {table['rows_read']:,} rows{span}."]
    lines += [f"Rows left out: {dropped}. Columns not loaded: {ignored}. SHA-256 `{table['sha256'][:16]}…`."]
    if table.get("left_out"):
        rows = "; ".join(f"row {row['row']} ({row['ids']})" for row in table["left_out"])
        lines.append(f"Left out, for example: {_text(rows)}.")
    if table.get("missing_days"):
        lines.append(f"Days without rows: {table['missing_days']:,}.")
    lines.append(f"Read as: {table.get('connector', 'canonical')}; currency: {table.get('currency') or 'not named'}.")
    absent = [column["name"] for column in table.get("expected_columns", ()) if not column["present"]]
    if absent:
        lines.append(f"Optional columns that the file does not have: {', '.join(absent)}.")
    lines += ["", "| column | type | empty | distinct |", "|---|---|---|---|"]
    for column in table["columns"]:
        empty = f"{100 * column['null_share']:.1f} %"
        lines.append(f"| `{column['name']}` | {column['dtype']} | {empty} | {column['distinct']:,} |")
    return lines


def _text(text: str) -> str:
    """Text on one line of Markdown that no name in the data can turn into a table, a link or markup."""
    flat = " ".join(str(text).split())
    for mark in ("\\", "|", "<", "[", "`", "*"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat
