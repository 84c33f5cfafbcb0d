"""The findings as a fixed set of data checks, so that they can be declared before any data are read.

Belongs here: the names and descriptions of the checks and how a profile answers each. Does not belong here: finding
anything (``findings``, ``readiness``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_BOTH = ("train", "score")


@dataclass(frozen=True)
class CheckSpec:
    """A check that every validation answers; ``title`` for people, ``purposes`` are the verdicts that it touches."""

    name: str
    title: str
    description: str
    purposes: tuple[str, ...] = _BOTH


DATA_CHECKS: tuple[CheckSpec, ...] = (
    CheckSpec("contracts", "Exports readable", "All exports are there and keep their contracts."),
    CheckSpec(
        "minimum_data_train",
        "Enough to train",
        "The exports hold what the configured minimum asks for before a model is trained.",
        ("train",),
    ),
    CheckSpec(
        "minimum_data_score",
        "Enough to score",
        "Leads can be tied to an ad, ad set or campaign, so that scores differ.",
        ("score",),
    ),
    CheckSpec("coverage_of_days", "Days covered", "No export has gaps, begins too late or ends too early."),
    CheckSpec("duplicates", "Repeated rows", "Few rows of an export repeat an earlier one."),
    CheckSpec("rows_left_out", "Rows left out", "What was dropped or changed while reading is counted."),
    CheckSpec("null_ids", "Empty ids", "No id is a missing value in disguise."),
    CheckSpec("id_coverage", "Ids known to both sides", "Ids of one export are found in the export they point to."),
    CheckSpec("match_rate", "Leads matched to ads", "Enough leads are tied to an ad, in every week."),
    CheckSpec(
        "enrichment_coverage", "Optional signals", "Optional exports cover the ads and add up to the ads export."
    ),
    CheckSpec("currency", "Currency", "All exports are in the configured currency."),
    CheckSpec("time_zone", "Time zone", "Times look right in the zone in which they were read."),
    CheckSpec("outcome_times", "Times of outcomes", "Outcomes are recorded after they happen and rarely taken back."),
    CheckSpec(
        "left_truncation",
        "Start of the outcome log",
        "Leads from before outcomes were recorded are not taken for leads that did not qualify.",
        ("train",),
    ),
    CheckSpec(
        "right_censoring",
        "End of the outcome log",
        "Outcomes are known up to the moment at which leads are judged.",
        ("train",),
    ),
    CheckSpec(
        "personal_data", "Personal data", "No id and no other text is or contains an e-mail address or a phone number."
    ),
)
"""Every check, in the order in which people read them."""


@dataclass(frozen=True)
class DataCheck:
    """The answer to one check.

    Attributes:
        passed: False where something asks for care.
        severity: ``error`` for a broken contract, ``warning`` for what fails otherwise, ``info`` where nothing does.
        sentence: the answer in words.
        table: the export it is about; empty where it is about several.
        metadata: counts and messages behind the sentence.
    """

    name: str
    table: str
    passed: bool
    severity: Literal["info", "warning", "error"]
    sentence: str
    metadata: Mapping[str, Any]


def data_checks(profile: Mapping[str, Any]) -> list[DataCheck]:
    """Answer every check of ``DATA_CHECKS``, in that order, from a data profile (``profile.profile_of``)."""
    errors: Mapping[str, str] = profile.get("errors") or {}
    if errors:
        contracts = DataCheck("contracts", _only(errors), False, "error", " ".join(errors.values()), dict(errors))
        return [contracts, *(_not_judged(spec, errors) for spec in DATA_CHECKS[1:])]
    return [_answer(spec, profile) for spec in DATA_CHECKS]


def _not_judged(spec: CheckSpec, errors: Mapping[str, str]) -> DataCheck:
    sentence = f"Not judged, because {' and '.join(errors)} could not be read."
    return DataCheck(spec.name, "", False, "info", sentence, {"judged": False})


def _answer(spec: CheckSpec, profile: Mapping[str, Any]) -> DataCheck:
    found = [finding for finding in profile["findings"] if finding["check"] == spec.name]
    warnings = [finding for finding in found if finding["severity"] == "warning"]
    metadata: dict[str, Any] = {}
    for finding in found:
        key, count = finding["code"], 2
        while key in metadata:  # two tables may say the same
            key, count = f"{finding['code']}_{count}", count + 1
        metadata[key] = f"{finding['message']} {finding['remedy']}".strip()
    purpose = spec.name.removeprefix("minimum_data_")
    if purpose in profile["readiness"]:
        return _minimum(spec, profile["readiness"][purpose], metadata)
    if spec.name == "contracts":
        files = ", ".join(table["file"] for table in profile["tables"].values())
        return DataCheck(spec.name, "", True, "info", f"Read: {files}.", metadata)
    tables = {finding["table"]: "" for finding in warnings or found}
    sentence = " ".join(finding["message"] for finding in warnings) or f"{spec.description}"
    severity: Literal["info", "warning"] = "warning" if warnings else "info"
    return DataCheck(spec.name, _only(tables), not warnings, severity, sentence, metadata)


def _minimum(spec: CheckSpec, verdict: Mapping[str, Any], metadata: dict[str, Any]) -> DataCheck:
    for rule in verdict["rules"]:
        share = rule["unit"] == "share"
        found, required = (
            f"{100 * rule[side]:.1f} %" if share else f"{rule[side]:,.0f}" for side in ("found", "required")
        )
        metadata[rule["name"]] = f"{rule['label']}: {found} found, {required} required"
    reasons = "; ".join(verdict["reasons"])
    sentence = f"{reasons[0].upper()}{reasons[1:]}." if reasons else "All requirements are met."
    severity: Literal["info", "warning"] = "info" if verdict["ready"] else "warning"
    table = "" if verdict["ready"] else "leads"
    return DataCheck(spec.name, table, verdict["ready"], severity, sentence, metadata)


def _only(tables: Mapping[str, Any]) -> str:
    """The table, where it is a single one."""
    return next(iter(tables)) if len(tables) == 1 else ""
