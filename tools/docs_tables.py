"""Regenerate the marked tables of the documentation from the contracts and the settings.

Belongs here: what a marked block holds (``<!-- table: ads --> ... <!-- end -->``) and replacing it. Does not belong
here: prose around the blocks, or the contracts themselves.

Run: ``python tools/docs_tables.py`` to write, ``python tools/docs_tables.py --check`` to fail where something is stale.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from elv_pipeline.contracts.lead_ads import SOURCES
from elv_pipeline.contracts.outputs import (
    ADSET_LEADERBOARD,
    CALIBRATION_BINS,
    CAMPAIGN_LEADERBOARD,
    DRIFT,
    PERFORMANCE,
    predictions_contract,
)
from elv_pipeline.contracts.outreach import SOURCES as OUTREACH_SOURCES
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ElvError
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import Paths

DOCS = Path(__file__).resolve().parent.parent / "docs"
_BLOCK = re.compile(r"(<!-- table: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)

MEANINGS: dict[str, str] = {
    "name": "Prefix of the asset keys and of the lake's folder; lower-case letters, digits and `_`. One name is one "
    "data set in one home.",
    "problem": "What is scored: leads of an advertiser (`lead_ads`), or moments of enrollments "
    "([Outreach](OUTREACH.md)).",
    "target": "Of several targets of a problem the one that is predicted: of outreach `booked_call`, `qualified` or "
    "`converted`. Empty: the first. A file with `targets` gives each its own.",
    "family": "Set by the program: the `name` of a file with `targets`, which share their tables under it.",
    "org_id": "First part of the key in `dbo.lead_scores`.",
    "timezone": "IANA zone in which a day begins and ends, partitions are cut and schedules tick.",
    "start_date": "First day of the calendar. Null: the oldest day in leads and ads, fixed at the first command.",
    "end_date": "Last day of the calendar. Null: it goes on.",
    "observed_from": "Outcomes before this day or moment were not recorded; leads created before it stay unlabelled. "
    "A date is the start of that local day. Null: the log reaches back far enough.",
    "observed_until": "Outcomes are known until this day or moment. A date is the end of that local day. Null: the "
    "newest moment in leads and outcomes.",
    "label_window_days": "An outcome counts within this many days of the lead; also every gap of the split.",
    "feature_lag_days": "The newest day of ads that a lead's features may use is its own day minus this.",
    "value_per_qualified": "What one qualified lead is worth, where realised values do not say: ELV = probability x "
    "this.",
    "currency": "Label of amounts in the report; nothing is converted.",
    "paths.leads_path": "The leads export. Relative to the configuration file, or beginning with `${VARIABLE}`.",
    "paths.ads_path": "The daily ads export. Null: no spend, no names and no delivery features; the outputs say so.",
    "paths.outcomes_path": "The outcomes export. Null: nothing is labelled, so nothing can be trained.",
    "paths.lead_to_ad_map_path": "What each lead came from, where the leads export does not say.",
    "paths.contacts_path": "Outreach: the contacts.",
    "paths.campaigns_path": "Outreach: the campaigns.",
    "paths.campaign_steps_path": "Outreach: the steps of the campaigns.",
    "paths.enrollments_path": "Outreach: the enrollments.",
    "paths.engagement_logs_path": "Outreach: the events.",
    "paths.ads_placement_path": "Daily delivery of each ad by placement. Null: no features of the placement mix.",
    "paths.ads_geo_path": "Daily delivery of each ad by country or region. Null: no features of the regional mix.",
    "paths.adset_targeting_path": "Audience keywords of each ad set. Null: no features of the audience.",
    "paths.ad_creatives_path": "Kind of creative of each ad. Null: no such category.",
    "source": "Format of the exports: `auto` recognises it by the header, else a connector of docs/CONNECTORS.md.",
    "engine": "Where the features are computed: `polars` in this process, or `spark` (docs/SCALING.md).",
    "contracts.*.source": "Format of this export. Null: `source`.",
    "contracts.*.decimal_comma": "Numbers are written 1.234,50. Never guessed: 1,234 could be either.",
    "minimum_data.leads": "Fewer leads are not ready to train.",
    "minimum_data.days": "Fewer days from the first to the last lead are not ready to train.",
    "minimum_data.match_rate": "A smaller share of leads found in the ads export is a warning.",
    "spark.master": "Spark master; `local[2]` starts Spark inside the run.",
    "spark.buckets": "Into how many parts the campaigns are divided; a part must fit into one worker.",
    "contracts.*.naive_timezone": "Zone of times without an offset. Null: `timezone`. A column of dates is always read "
    "in `timezone`.",
    "contracts.*.timestamp_format": 'Format of the time columns of the file, such as `"%d/%m/%Y %H:%M"`. Null: '
    "ISO 8601.",
    "contracts.*.null_values": "Texts that mean \"nothing\" in id and time columns, such as `['0', 'unknown']`.",
    "contracts.*.on_duplicate": "A repeated key: refuse, or keep the first row and count the rest.",
    "contracts.lead_to_ad_map.naive_timezone": "No effect: the map has no time column.",
    "contracts.lead_to_ad_map.timestamp_format": "No effect: the map has no time column.",
    "contracts.*.on_negative_spend": "A spend below 0: refuse, or drop the row.",
    "contracts.*.on_clicks_above_impressions": "More clicks than impressions: refuse, drop the row, or keep it with a "
    "note. An export whose only clicks are *Clicks (all)* keeps them unless the value is `drop`.",
    "contracts.leads.on_before_start": "A lead before `start_date`: refuse, or drop it (and its outcome).",
    "contracts.outcomes.on_unknown_lead": "An outcome of a lead that is not in the leads export: refuse, or drop it. "
    "null refuses, but of outcomes that a query delivers up to 5 % (5 of the first 100) are dropped and counted.",
    "contracts.outcomes.on_before_lead": "An outcome before its lead: refuse, or drop it; the lead then stays "
    "unlabelled instead of becoming a negative.",
    "model.model_type": "`auto`: gradient-boosted trees (LightGBM) and a penalised logistic regression are both fitted "
    "and the better one on later calibration leads is judged; or one of them by name.",
    "model.seed": "Seed of the trees' subsampling, the bootstrap and the permutations.",
    "model.min_labelled_rows": "Training is refused with fewer labelled (mature) leads.",
    "model.min_positives": "Training is refused with fewer positives among them.",
    "model.min_calibration_positives": "With fewer positives in the calibration slice, the calibrator is fitted out of "
    "fold in time instead.",
    "model.test_fraction": "Share of the labelled leads, the latest, that judge the model.",
    "model.calibration_fraction": "Share of the development leads, the latest, that calibrate it.",
    "model.training_window_days": "Leads older than this before the origin are not used.",
    "model.bootstrap_samples": "Resamples behind every interval of the metrics.",
    "model.threads": "Threads of LightGBM while fitting; the result does not depend on it.",
    "model.search_candidates": "Settings of the trees that are tried beside the defaults, at one fit each and two more "
    "to confirm the best. 0: no search.",
    "model.monotone": "Numeric feature, or a pattern such as `'*_ctr_*'`, to `1` (the score may only rise with it) or "
    "`-1` (only fall). Write it only where you are sure.",
    "model.learn_from_young": "Leads whose outcome window is still open take part in the training with estimated "
    "labels. For new campaigns; costs several times the training time, and the model without them stays as a baseline.",
    "model.value_model": "The richest way in which realised values (column `value` of the outcomes export) are used: "
    "`learned`, `segment` (means by campaign and ad set), or `constant`: always `value_per_qualified`.",
    "model.widest_window_days": "Where outcomes are too rare to train on, the refusal names the smallest outcome "
    "window up to this that would hold enough. It is advice; nothing is widened by itself.",
    "proof.rule": "A rule of yours to beat: an SQL expression over the feature columns, the higher the better. Null: "
    "none.",
    "proof.accepted_leaks": "Feature columns (or codes of findings) that look like the future to the leakage probes "
    "and are known in time; they are listed and block nothing.",
    "promotion.require_approval": "A candidate that passes every gate waits for `elv approve` instead of scoring at "
    "once. Null: in `environment: prod` it waits, elsewhere not.",
    "promotion.require_ready": "Gate `ready`: the plain verdict is *ready* or *usable with care*. Without it a model "
    "that is *not ready* may pass all other gates; the decision says so.",
    "promotion.evidence": "What must meet a threshold: `point`, the figure itself; `interval`, the unfavourable end of "
    "its 95 % interval.",
    "promotion.baseline": "Baseline of the gate `baseline`.",
    "promotion.min_pr_auc_gain": "Gate `baseline`: PR-AUC at least this share above the baseline's. Null: off.",
    "promotion.max_brier_increase": "Gate `brier`: Brier score at most this share above the baseline's. Null: off; of "
    "outreach 0 unless set.",
    "promotion.min_lift_at_10pct": "Gate `lift`: the best tenth has at least this many times the average rate. Null: "
    "off; of outreach 1.2 unless set.",
    "promotion.max_champion_log_loss": "Gate `champion`: log loss at most this share above the champion's, and not "
    "surely above it. Null: off.",
    "promotion.max_calibration_error": "Gate `calibration`: calibration MAE at most this share of the base rate, or "
    "what chance alone does. Null: off.",
    "promotion.max_miscalibrated_share": "Gate `segment_calibration`: at most this share of the judged leads in "
    "segments whose probabilities are surely off. Null: off.",
    "promotion.min_test_positives": "Gate `test_positives`: at least so many of the judged leads qualified. Null: off.",
    "promotion.forbid_leaks": "Gate `leakage`: no finding of the leakage probes that is not accepted.",
    "promotion.absolute.enabled": "Turns the three absolute gates on.",
    "promotion.absolute.min_roc_auc": "Gate `absolute_roc_auc`: ROC-AUC at least this.",
    "promotion.absolute.min_lift_at_10pct": "Gate `absolute_lift_at_10pct`: lift of the best tenth at least this.",
    "promotion.absolute.max_calibration_mae": "Gate `absolute_calibration_mae`: calibration MAE at most this.",
    "promotion.absolute.max_calibration_mae_high_volume": "The same where the model is judged on many leads.",
    "promotion.absolute.high_volume_rows": "Judged leads from which on that stricter limit holds.",
    "reporting.min_segment_leads": "A segment with fewer leads is marked `low_volume`; its place among the others "
    "already allows for how little is known of it.",
    "reporting.leaderboard_days": "Leaderboards count the scored days among this many; also the default range of "
    "`elv score`.",
    "reporting.drift_days": "Drift compares the leads of this many days with the model's reference.",
    "reporting.unspoken": "Words: a feature column whose name contains one is never part of a reason or an insight, "
    "nor a value that contains one part of a reason; in addition to the sensitive attributes that never are.",
    "schedules.daily_cron": "When yesterday's leads are scored, in `timezone`.",
    "schedules.labels_cron": "When labels whose windows are closing are refreshed.",
    "schedules.watch_cron": "When what was promised is compared with what came true, and alerts are sent.",
    "schedules.refresh_cron": "When the days that a training looks at are read anew, before it.",
    "schedules.weekly_cron": "When a model is trained; `{weekday}` stands for `origin_weekday`.",
    "schedules.housekeeping_cron": "When what is older than `retention` is removed.",
    "schedules.recommend_cron": "When the recommendations of outreach are renewed.",
    "moments.at_enrollment": "Outreach: whether an enrollment is scored when it begins.",
    "moments.positions": "Outreach: after which steps it is scored. Null: after every one.",
    "moments.rescore_days": "Outreach: ends of days after the newest of these at which it is scored anew.",
    "recommend.randomised_campaigns": "Campaigns to which contacts were sent by lot; only they can show an effect.",
    "recommend.horizon_days": "Days after an enrollment within which a change of the sequence counts.",
    "recommend.margin": "Share of the alternatives' rate below which a difference does not matter.",
    "recommend.weeks": "Over which the gain of a proposal counts.",
    "recommend.effort_days": "Days of work until a change can be tested, by kind of change.",
    "recommend.language_model.enabled": "Whether a language model words template edits; it is never told a contact.",
    "recommend.language_model.url": "Its endpoint for chats.",
    "recommend.language_model.model": "Its name, as the endpoint knows it.",
    "recommend.language_model.key_variable": "Environment variable that holds the key.",
    "recommend.language_model.timeout_seconds": "For the whole answer.",
    "recommend.language_model.attempts": "How often it is asked where another attempt may help.",
    "recommend.language_model.most_tokens": "Longest answer that is asked for.",
    "schedules.origin_weekday": "Weekday of the training origins.",
    "environment": "`prod` asks for `elv approve-target` before scores go to a new database, for `elv approve-model` "
    "before a model that never was the champion writes any, and for a person before a new model scores; `dev` and "
    "`test` never "
    "write where `prod` does.",
    "databases.source": "Where the queries of `extracts` read: `url_variable` names the environment variable that "
    "holds the SQLAlchemy URL; beside it `login_timeout_seconds` (15), `statement_timeout_seconds` (900) and "
    "`attempts` (4).",
    "databases.scores": "Where scores are written; the same keys. Null: a SQLite file of the home.",
    "extracts.*": "File of the query that delivers the table, with `:since` and `:until`, relative to the "
    "configuration; its `paths` key stays null. Null: no query.",
    "extracts.days_back": "Days before the end of the scored day that a run reads anew.",
    "extracts.train_days_back": "The same before a training.",
    "extracts.batch_rows": "Rows that are held in memory at once.",
    "privacy.hashed_columns": "Ids that are replaced by a keyed hash before anything is stored: `lead_id`, "
    "`campaign_id`, `adset_id`, `ad_id`.",
    "privacy.key_variable": "Environment variable that holds the key of that hash.",
    "retention.snapshots_days": "Extracted snapshots older than this may be purged.",
    "retention.bundles_days": "Run bundles older than this may be purged.",
    "retention.event_log_days": "Dagster's records of runs older than this may be purged.",
    "monitoring.hold_incomplete_days": "A day whose inputs are incomplete is not scored until they are.",
    "monitoring.min_row_share": "A table is incomplete on a day where it has less than this share of its usual rows, "
    "and surely fewer.",
    "monitoring.hold_days": "After so many days a held day is scored as it is, with a warning.",
    "monitoring.retrain_on_drift": "A sensor asks for a training when drift lasts or the realised performance drops.",
    "alerts.channels": "Where alerts are sent: `kind` (`webhook`, `slack`, `email`), `url_variable` (the environment "
    "variable that holds the address), `min_severity` (`warning`); for e-mail also `to` and `sender`.",
    "rollout.share": "Share of organisations (`org_id`) whose scores are written; the others are scored and not "
    "published.",
}
"""What each configuration key means; ``contracts.*`` holds for every table that has the key."""


def main() -> int:
    """Write the blocks of every document, or only compare them (``--check``)."""
    stale = [file for file, text in regenerated().items() if file.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.name} is out of date; run 'python tools/docs_tables.py'", file=sys.stderr)
        return int(bool(stale))
    fresh = regenerated()
    for file in stale:
        file.write_text(fresh[file], encoding="utf-8")
    return 0


def regenerated() -> dict[Path, str]:
    """Every document that has a marked block, with all of them made anew.

    Raises:
        ElvError: a block has no generator, or a table has no block.
    """
    tables = blocks()
    documents = {file: file.read_text(encoding="utf-8") for file in sorted(DOCS.glob("*.md"))}
    found = [match.group(2) for text in documents.values() for match in _BLOCK.finditer(text)]
    if sorted(found) != sorted(tables):
        raise ElvError(
            f"docs/*.md have the blocks {sorted(found)}, the generator makes {sorted(tables)}; both must name the "
            f"same. Add or remove '<!-- table: name --> ... <!-- end -->'."
        )
    return {
        file: _BLOCK.sub(lambda match: match.group(1) + "\n" + tables[match.group(2)] + "\n" + match.group(3), text)
        for file, text in documents.items()
        if _BLOCK.search(text)
    }


def blocks() -> dict[str, str]:
    """Content of every block by name."""
    outputs = (
        predictions_contract(PipelineConfig(paths=Paths(leads_path="leads.csv")).probability_column),
        CAMPAIGN_LEADERBOARD,
        ADSET_LEADERBOARD,
        DRIFT,
        PERFORMANCE,
        CALIBRATION_BINS,
    )
    sources = {contract.name: _columns(contract) for contract in SOURCES}
    # The outcomes of the two problems are different tables of one name.
    sources |= {f"outreach_{contract.name}": _columns(contract) for contract in OUTREACH_SOURCES}
    return {**sources, **{contract.name: _columns(contract) for contract in outputs}, "settings": _settings()}


def _columns(contract: TableContract) -> str:
    """The contract's Markdown without its heading, which the document brings itself."""
    # A bar inside a cell would end it.
    columns = tuple(replace(column, description=column.description.replace("|", "\\|")) for column in contract.columns)
    return replace(contract, columns=columns).markdown().split("\n", 2)[2]


def _settings() -> str:
    lines = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key, field in setting_fields().items():
        lines.append(f"| `{key}` | {_default(field)} | {_allowed(field)} | {_meaning(key)} |")
    return "\n".join(lines) + "\n"


def setting_fields(model: type[BaseModel] = PipelineConfig, prefix: str = "") -> dict[str, FieldInfo]:
    """Every key that a configuration may hold, dotted, in the order of the settings."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= setting_fields(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def _meaning(key: str) -> str:
    parts = key.split(".")
    shared = f"contracts.*.{parts[-1]}" if parts[0] == "contracts" else f"{parts[0]}.*"
    try:
        return MEANINGS.get(key) or MEANINGS[shared]
    except KeyError:
        raise ElvError(f"{key} has no meaning in tools/docs_tables.py; add one to MEANINGS") from None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"  # as a configuration file writes it
    return "`[]`" if value == () else f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    words = _choices(field.annotation)
    if words:
        return ", ".join(f"`{word}`" if word else "null" for word in words)
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation == (bool | None):
        return "`true`, `false`, null"
    bounds = [text for item in field.metadata if (text := _bound(item))]
    return " and ".join(bounds) or _kind(str(field.annotation))


def _choices(annotation: Any) -> tuple[str | None, ...]:
    """The words that a key takes; None where it may also be null."""
    if get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
        words = tuple(word for part in get_args(annotation) for word in _choices(part))
        return (*words, None) if words else ()
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _bound(item: Any) -> str | None:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for kind, word in words.items():
        if isinstance(item, getattr(annotated_types, kind.capitalize())):
            return f"{word} {getattr(item, kind):g}"
    if isinstance(item, annotated_types.MinLen):
        return f"at least {item.min_length} character"
    if isinstance(item, annotated_types.MaxLen):
        return f"at most {item.max_length} characters"
    return None


def _kind(annotation: str) -> str:
    kinds = (
        ("Database", "a connection, or null"),
        ("Channel", "list of channels"),
        ("dict[str, float]", "kinds and days"),
        ("dict", "features and 1 or -1"),
        ("tuple[typing.Annotated[int", "list of positions, or null"),
        ("tuple", "list of texts"),
        ("datetime.datetime", "date or moment"),
        ("datetime.date", "date"),
    )
    for part, word in kinds:
        if part in annotation:
            return word
    return "text"


if __name__ == "__main__":
    sys.exit(main())
