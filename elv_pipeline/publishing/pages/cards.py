"""The model card and the data card of a run, as Markdown.

Belongs here: what each card states, in which order. Does not belong here: wording shared with the report (statements)
or the tables both show (report).
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from elv_pipeline.publishing.pages.content import (
    NOT_AVAILABLE,
    ReportContent,
    day_span,
    joined,
    metric,
    moment,
    money,
    number,
    percent,
)
from elv_pipeline.publishing.pages.proof_tables import (
    budget_table,
    calibration_table,
    gates_table,
    grades_table,
    metrics_table,
    prevalence_table,
    segments_table,
    truth_table,
)
from elv_pipeline.publishing.pages.report_tables import (
    features_table,
    interval,
    joins_table,
    labels_table,
    splits_table,
)
from elv_pipeline.publishing.pages.statements import budget_sentence, how_sure, missing, verdict
from elv_pipeline.publishing.pages.why_tables import factors_table, importance_table

SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def model_card(content: ReportContent) -> str:
    """What the model is for, what it learned from, how good it is beside baselines, and where it must not be used."""
    error = metric(content, "calibration_mae")
    tables = {"metrics": metrics_table(content), "truth": truth_table(content)}
    tables |= {"features": features_table(content), "calibration": calibration_table(content)}
    tables |= {"gates": gates_table(content), "budget": budget_table(content), "grades": grades_table(content)}
    tables |= {"segments": segments_table(content), "prevalence": prevalence_table(content)}
    tables |= {"factors": factors_table(content), "importance": importance_table(content)}
    return _render(
        "MODEL_CARD.md.j2",
        content,
        tables=tables,
        levels=joined([content.words.level_named(level).plural for level in content.leaderboards()]),
        verdict=verdict(content),
        budget=budget_sentence(content),
        sureness=how_sure(content),
        absent=missing(content),
        leakage=(content.metrics or {}).get("leakage"),
        segment_sentences=[
            found["sentence"] for found in ((content.metrics or {}).get("segment_calibration") or {}).values()
        ],
        periods=_periods(content),
        calibration=(content.metrics or {}).get("calibration") or {},
        calibration_error=percent(error["value"]),
        calibration_interval=interval(error, percent),
        value=money(content.manifest.get("value_per_qualified"), currency=content.currency),
    )


def data_card(content: ReportContent) -> str:
    """Where the rows come from, how they were labelled and joined, what is private, and what is known to be wrong."""
    tables = {"joins": joins_table(content), "splits": splits_table(content), "labels": labels_table(content)}
    tables |= {"prevalence": prevalence_table(content)}
    sources = sorted({source.split(".")[0] for source in _feature_sources(content)})
    return _render("DATA_CARD.md.j2", content, tables=tables, sources=sources, periods=_periods(content))


def _render(template: str, content: ReportContent, **facts: Any) -> str:
    environment = Environment(
        loader=PackageLoader("elv_pipeline.publishing.pages"),
        autoescape=False,  # Markdown: every value from data passes the `plain` filter instead
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = plain
    environment.filters["at"] = lambda value: moment(value, timezone=content.timezone)
    environment.filters["count"] = lambda value: number(value, digits=0)
    text = environment.get_template(template).render(
        content=content, manifest=content.manifest, words=content.words, **facts
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def plain(value: Any) -> str:
    """Text that Markdown shows as it is: on one line, with nothing that could start markup, a link or a cell."""
    if value is None or value == "":
        return NOT_AVAILABLE
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _periods(content: ReportContent) -> list[tuple[str, str]]:
    split = content.manifest.get("split") or {}
    names = ("train", "calibration", "test")
    spans = [(split.get(f"{name}_from"), split.get(f"{name}_until")) for name in names]
    return [(name, day_span(*span, timezone=content.timezone)) for name, span in zip(names, spans, strict=True)]


def _feature_sources(content: ReportContent) -> set[str]:
    found = [source for feature in content.features for source in feature.get("sources") or ()]
    return {source if isinstance(source, str) else ".".join(source) for source in found}
