"""The tables that explain a model, and the challenger beside the champion.

Belongs here: which columns and rows each table shows. Does not belong here: tables of the proof (proof_tables), figures
(why_charts), or the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elv_pipeline.problems.words import Words
from elv_pipeline.publishing.pages.content import ReportContent, number, percent, times
from elv_pipeline.publishing.pages.report_tables import SHARE, Cell, Table, interval
from elv_pipeline.publishing.pages.statements import compared

TOP_INSIGHTS = 60
TOP_FEATURES = 10


def insights_table(content: ReportContent) -> Table | None:
    """Rates by the values of attributes, those that stand out first."""
    insights, words = content.insights, content.words
    if insights is None or insights.is_empty():
        return None
    ranked = sorted(enumerate(insights.iter_rows(named=True)), key=lambda row: (not row[1]["stands_out"], row[0]))
    rows = tuple(
        (
            Cell(text=row["words"], detail=row["attribute"] if row["attribute"] != row["words"] else ""),
            Cell(text=content.value_name(row["attribute"], row["value"])),
            Cell(text=SHARE(row["rate"]), detail=interval({"low": row["rate_low"], "high": row["rate_high"]}, SHARE)),
            Cell(text=times(row["ratio"]), detail="stands out" if row["stands_out"] else ""),
            Cell(text=f"{row['positives']:,}"),
            Cell(text=f"{row['rows']:,}"),
        )
        for _, row in ranked[:TOP_INSIGHTS]
    )
    part = f"the first {TOP_INSIGHTS} of {len(ranked):,}" if len(ranked) > TOP_INSIGHTS else f"all {len(ranked)}"
    return Table(
        caption=f"How often {words.rows} with each value {words.happened}: {part}",
        columns=("Attribute", "Value", words.title_happened, "Against the average", "Outcomes", words.title_rows),
        rows=rows,
        text_columns=2,
        note=f"'Against the average' is pulled toward 1 where few {words.rows} speak. Under a rate its 95% interval. A "
        "value stands out where chance does not explain it, after correction for the number of values looked at.",
    )


def factors_table(content: ReportContent) -> Table | None:
    """What moves the leads of each score band away from the average lead."""
    factors, words = content.factors, content.words
    if factors is None or factors.is_empty():
        return None
    bands: dict[str, list[dict[str, Any]]] = {}
    for row in factors.sort("band", "place").iter_rows(named=True):
        bands.setdefault(row["band"], []).append(row)
    most = max(len(rows) for rows in bands.values())
    rows = tuple(
        (
            Cell(text=band, detail=f"{found[0]['leads']:,} {words.rows}"),
            *(_factor(found[place]) if place < len(found) else Cell(text="") for place in range(most)),
        )
        for band, found in bands.items()
    )
    columns = ("Score band", *(f"{place + 1}." for place in range(most)))
    return Table(
        caption="What the model goes by in each score band, the strongest first",
        columns=columns,
        rows=rows,
        text_columns=1 + most,
        note=f"Groups of features by how far they move the band's {words.rows} away from the average {words.row}. They "
        "show what the model went by, not what causes an outcome.",
    )


def importance_table(content: ReportContent) -> Table | None:
    """The most important features with their definitions; the figure shows more of them."""
    if content.importance is None or content.importance.is_empty():
        return None
    definitions = {feature["name"]: feature["definition"] for feature in content.features}
    top = content.importance.sort(["importance", "feature"], descending=[True, False]).head(TOP_FEATURES)
    rows = tuple(
        (
            Cell(text=row["feature"]),
            Cell(text=definitions.get(row["feature"], "")),
            Cell(text=number(row["importance"], digits=5)),
        )
        for row in top.iter_rows(named=True)
    )
    return Table(
        caption=f"The {len(rows)} most important features",
        columns=("Feature", "Definition", "Importance"),
        rows=rows,
        text_columns=2,
        note=f"Importance is by how much the log loss on later {content.words.rows} grows when the feature's values "
        "are shuffled.",
    )


def overlap_tables(content: ReportContent) -> list[Table]:
    """The challenger beside the champion: the top of both lists, then what matured outcomes say."""
    found, words = content.overlap or {}, content.words
    return [table for table in (_top_table(found, words), _rivals_table(found, words)) if table is not None]


def _top_table(found: Mapping[str, Any], words: Words) -> Table | None:
    if not found.get("top"):
        return None
    rows = tuple(
        (
            Cell(text=f"Best {percent(top['share'], digits=0)}"),
            Cell(text=f"{top['leads']:,}"),
            Cell(text=f"{top['common']:,}", detail=percent(top["agreement"], digits=0)),
            *(_only(top[side], words) for side in ("only_champion", "only_challenger")),
        )
        for top in found["top"]
    )
    shift = found["rank_shift"]
    return Table(
        caption=f"The top of both lists, on {found['leads']:,} {words.rows} that both models scored",
        columns=("Part of the list", words.title_rows, "On both", "Only the champion's", "Only the challenger's"),
        rows=rows,
        note=f"The usual {words.row} moves by {percent(shift['median'], digits=1)} of the list between the two, one in "
        f"ten by more than {percent(shift['ninth_decile'], digits=1)}; rank correlation "
        f"{number(found['rank_correlation'])}.",
    )


def _rivals_table(found: Mapping[str, Any], words: Words) -> Table | None:
    proof = found.get("proof")
    if not proof:
        return None
    rows = []
    for name, title in (("log_loss", "Log loss"), ("pr_auc", "PR AUC"), ("roc_auc", "ROC AUC")):
        gap = proof["difference"][name]
        word = compared(gap, name=name).replace("model", "challenger")
        cells = [Cell(text=title, detail="lower is better" if name == "log_loss" else "higher is better")]
        cells += [Cell(text=_four(proof[side][name])) for side in ("champion", "challenger")]
        rows.append((*cells, Cell(text=_four(gap["value"]), detail=interval(gap, _four), remark=word)))
    return Table(
        caption=f"Who was right, on {proof['rows']:,} matured {words.rows} with {proof['positives']:,} outcomes",
        columns=("Measure", "Champion", "Challenger", "Challenger minus champion"),
        rows=tuple(rows),
        note=f"The challenger's log loss was lower in {proof['weeks_won']} of {len(proof['weeks'])} weeks (sign test: "
        f"p = {number(proof['sign_test_p'])}).",
    )


def _only(found: Mapping[str, int], words: Words) -> Cell:
    judged = f"{found['positives']:,} of {found['mature']:,} matured {words.happened}"
    known = judged if found["mature"] else "none matured yet"
    return Cell(text=f"{found['leads']:,}", detail=known if found["leads"] else "")


def _four(value: float | None) -> str:
    return number(value, digits=4)


def _factor(row: Mapping[str, Any]) -> Cell:
    raises = row["mean_contribution"] > 0
    share = row["raises_share"] if raises else 1 - row["raises_share"]
    return Cell(
        text=row["words"],
        detail=f"{'raises' if raises else 'lowers'} {percent(share, digits=0)} of them",
        tone="good" if raises else "care",
    )
