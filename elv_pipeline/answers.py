"""What commands answer in the terminal about the results of a run.

Belongs here: layout of results as tables and sentences. Does not belong here: the results, or the commands
(``cli.py``). Heavy imports stay inside the functions, because ``elv --help`` imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from elv_pipeline.errors import ElvError
from elv_pipeline.problems.nouns import capital
from elv_pipeline.scrubbing import scrubbed

if TYPE_CHECKING:
    from elv_pipeline.orchestration.explaining import LeadExplanation
    from elv_pipeline.orchestration.workspace import CommandResult
    from elv_pipeline.problems.words import Words

# No markup: a campaign called "[prospecting] Germany" would lose its first word, one called "[/x]" would raise.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_error(error: ElvError) -> None:
    """One message on the error stream, without a secret."""
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(
        f"error: {scrubbed(str(error))}", markup=False
    )


_SHOWN_BASELINES = {
    "logistic_regression": "logistic",
    "boosted_trees": "trees",
    "rule": "your rule",
    "cost_per_lead": "cost/lead",
    "campaign_rate": "campaign",
    "constant": "constant",
}
_SHOWN_METRICS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "lift_at_10pct": "lift at 10 %",
    "calibration_mae": "calibration MAE",
}


def print_findings(findings: list[dict[str, str]], *, severity: str | None = None) -> None:
    """Findings about the exports, with their remedies."""
    for finding in findings:
        if severity in (None, finding["severity"]):
            remedy = f" {finding['remedy']}" if finding["remedy"] else ""
            out.print(f"{finding['severity']:<9}{finding['code']}: {finding['message']}{remedy}", markup=False)


def print_metrics(result: CommandResult) -> None:
    """The model beside its baselines on later leads."""
    from elv_pipeline.problems.words import words_of_manifest
    from elv_pipeline.publishing.pages.content import day_span, moment

    metrics, manifest = result.document("metrics.json"), result.document("metadata.json")
    test, words = metrics["test"], words_of_manifest(manifest)
    baselines = [name for name in _SHOWN_BASELINES if name in metrics["models"]]
    shown = (_SHOWN_BASELINES[name] for name in baselines)
    table = Table(f"on later {words.rows}", f"{manifest['model_type']} [95 % interval]", *shown)
    for metric, label in _SHOWN_METRICS.items():
        figures = metrics["models"]
        others = (number_of(figures[name][metric]["value"]) for name in baselines)
        table.add_row(label, _interval(figures["model"][metric]), *others)
    out.print(table)
    zone = manifest["timezone"]
    out.print(
        f"Judged on {test['rows']:,} {words.rows} ({test['positives']:,} {words.happened}, {test['base_rate']:.1%}) "
        f"{words.created} "
        f"{day_span(test['from'], test['until'], timezone=zone)}; intervals resample {test['resampled']}; calibrated "
        f"by {manifest['calibration_method']}; trained as of {moment(manifest['model_origin'], timezone=zone)}.",
        markup=False,
    )
    verdict = manifest["verdict"]
    out.print(f"Verdict: {verdict['level']}. {' '.join(verdict['reasons'])}", markup=False)
    for note in manifest["split"]["notes"]:
        out.print(f"note: {note}", markup=False)


def print_backtest(document: dict[str, Any], *, words: Words) -> None:
    """Each origin with its figures, refusals, and the summary."""
    after = (f"{words.rows} after it", words.happened)
    table = Table("origin", *after, "ROC-AUC [95 %]", "PR-AUC", "log loss", "obs/exp")
    table.columns[0].no_wrap = True
    for entry in document["origins"]:
        counts = [entry["origin"], f"{entry['rows']:,}", f"{entry['positives']:,}"]
        if entry["models"] is None:
            table.add_row(*counts, "too few outcomes", "", "", "")
            continue
        model, ratio = entry["models"]["model"], entry["calibration"]
        span = f"{ratio['ratio']:.2f} [{ratio['ratio_low']:.2f}, {ratio['ratio_high']:.2f}]"
        figures = (
            _interval(model["roc_auc"]),
            number_of(model["pr_auc"]["value"]),
            number_of(model["log_loss"]["value"]),
        )
        table.add_row(*counts, *figures, span)
    out.print(table)
    for refusal in document["refused"]:
        out.print(f"refused {refusal['origin']}: {refusal['reason']}", markup=False)
    out.print(document["sentence"], markup=False)


def print_decision(entry: dict[str, Any] | None) -> None:
    """What became of the champion, and why."""
    if entry is None:
        return
    out.print(
        f"Decision: {entry['decision']}; {entry['reason']}. Champion: version {entry['from_version']} -> "
        f"{entry['to_version']}, by {entry['who']}.",
        markup=False,
    )


def print_explanation(
    found: LeadExplanation, *, probability_column: str, currency: str, words: Words, most: int = 12
) -> None:
    """One row's score with everything that adds to it, strongest first."""
    row = found.prediction
    low, high = row["elv_low"], row["elv_high"]
    span = f" (90 % range {low:,.2f} to {high:,.2f})" if low is not None else ""
    better = f"better than {row['percentile'] or 0:.0f} % of the judged {words.rows}"
    place = f"; grade {row['grade']}, {better}" if row["grade"] else ""
    out.print(
        f"{capital(words.row)} {row['lead_id']}: probability {row[probability_column]:.1%}, expected value "
        f"{row['elv']:,.2f} {currency}{span}{place}. Model version {found.model_version}; this {words.row}'s role in "
        f"it: {row['split']}.",
        markup=False,
    )
    table = Table("adds to the log odds", "what", "because")
    for factor in found.factors.head(most).iter_rows(named=True):
        table.add_row(f"{factor['contribution']:+.3f}", factor["words"], factor["reason"] or "")
    out.print(table)
    rest = found.factors.slice(most)
    if rest.height:
        out.print(f"{rest.height} further groups add {rest['contribution'].sum():+.3f} together.", markup=False)


def print_overlap(document: dict[str, Any], *, words: Words) -> None:
    """Challenger against champion."""
    if document.get("top"):
        came = words.happened
        table = Table("top of the list", words.rows, "on both", f"{came}, only champion", f"{came}, only challenger")
        for top in document["top"]:
            ours, theirs = (
                f"{found['positives']} of {found['mature']} mature"
                for found in (top["only_champion"], top["only_challenger"])
            )
            table.add_row(f"{top['share']:.0%}", f"{top['leads']:,}", f"{top['agreement']:.0%}", ours, theirs)
        out.print(table)
    out.print(f"Challenger: version {document['challenger_version'] or 'none'}. {document['sentence']}", markup=False)


def print_gates(document: dict[str, Any]) -> None:
    """Every gate with its verdict."""
    table = Table("gate", "verdict", "figure", "asks for")
    for gate in document["gates"]:
        table.add_row(gate["name"], gate["verdict"], gate["reason"], gate["asks"])
    out.print(table)
    word = "every gate passed" if document["passed"] else f"failed: {', '.join(document['failed'])}"
    champion = document["champion_version"] or "none"
    out.print(f"Candidate version {document['candidate_version']} (champion: {champion}): {word}.", markup=False)


def print_truth(result: CommandResult) -> None:
    """Synthetic data only: the scores beside the true probabilities."""
    from elv_pipeline.problems.words import words_of_manifest

    manifest = result.document("metadata.json")
    truth, words = manifest.get("truth"), words_of_manifest(manifest)
    if truth is None:
        return
    model, perfect = truth["model"], truth["perfect"]
    out.print(
        f"Against the truth on {truth['rows']:,} scored {words.rows} the model never saw: ROC-AUC "
        f"{number_of(model['roc_auc'])} (a perfect model: {number_of(perfect['roc_auc'])}), log loss "
        f"{number_of(model['log_loss'])} ({number_of(perfect['log_loss'])}), mean prediction "
        f"{truth['mean_prediction']:.1%} (truth {truth['mean_truth']:.1%}). The 90 % range of the expected value holds "
        f"the true one of {truth['ranges']['held']} of {truth['ranges']['segments']} campaigns.",
        markup=False,
    )


def print_top_campaigns(result: CommandResult, *, most: int = 5) -> None:
    """The first campaigns of the leaderboard."""
    import polars as pl

    from elv_pipeline.decisions.leaderboards import BOARDS
    from elv_pipeline.problems.words import words_of_manifest

    path, manifest = result.bundle / "leaderboard_campaign.csv", result.document("metadata.json")
    words = words_of_manifest(manifest)
    if not path.is_file():
        scored = f"No scored {words.row} carries a campaign id"
        reason = scored if manifest["scored_rows"] else f"There are no {words.rows} on these days"
        out.print(f"{reason}: there is no campaign leaderboard.")
        return
    spec = BOARDS[words.problem][0]
    board = pl.read_csv(path, schema_overrides=spec.contract(words).schema).head(most)
    spent = spec.with_spend and board["spend"].null_count() < board.height
    table = Table(
        "campaign",
        words.entities,
        "expected value",
        *(["spend", "value per unit of spend (95 %: chance and model error)"] if spent else []),
    )
    for row in board.iter_rows(named=True):
        cells = [
            str(row["campaign_name"] or row["campaign_id"] or "(no campaign id)"),
            f"{row['lead_count']:,}",
            f"{row['predicted_elv']:,.0f}",
        ]
        if spent:
            known = row["elv_per_spend"] is not None
            cells += [
                f"{row['spend']:,.0f}" if row["spend"] is not None else "",
                f"{row['elv_per_spend']:.2f} ({row['elv_per_spend_low']:.2f} to {row['elv_per_spend_high']:.2f})"
                if known
                else "",
            ]
        table.add_row(*cells)
    out.print(table)


def print_alerts(result: CommandResult) -> None:
    """Alerts of the run."""
    for alert in result.document("alerts.json"):
        out.print(f"{alert['severity']:<9}{alert['code']}: {alert['message']} {alert['action']}", markup=False)


def print_bundle(result: CommandResult) -> None:
    """Warnings, and where the result lies."""
    for warning in result.run.warnings:
        out.print(f"warning {warning}", markup=False)
    pages = [result.bundle / name for name in ("report.html", "validation.html")]
    shown = next((page for page in pages if page.is_file()), result.bundle)
    out.print(f"Run {result.run.run_id}: {shown}", markup=False)


def _interval(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None or figure["high"] is None:
        return number_of(figure["value"])
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def number_of(value: float | None) -> str:
    """A figure with three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"
