"""The `elv` command: arguments in, a short answer out.

Belongs here: arguments, progress and printing. Does not belong here: any logic; every command selects assets and
materialises them (``orchestration/commands.py``). Heavy imports stay inside the commands, so that ``elv --help`` and
``elv doctor`` answer at once.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from elv_pipeline import __version__, answers, cli_demo, cli_experiment, cli_operation, cli_recommend
from elv_pipeline.cli_session import for_each_target, session_of
from elv_pipeline.errors import ConfigError, ElvError, PromotionRefusedError, ScoringRefusedError
from elv_pipeline.home import HOME_VARIABLE, Home

app = typer.Typer(
    name="elv",
    help="Expected lead value: which leads are worth acting on, how sure that is, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path, typer.Option("--config", "-c", help="Configuration file; copy configs/lead_ads.yaml.")]
Model = Annotated[str, typer.Option("--model", help="model.joblib of a run bundle; default: the champion.")]
Version = Annotated[str, typer.Option("--version", help="Registered version; 'elv models' lists them.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit log.")]
Who = Annotated[str, typer.Option("--who", help="Your name for the audit log; default: the account.")]
Day = datetime | None
_RUNS_WIDTH = 190


def _show_version(wanted: bool) -> None:
    if wanted:
        answers.out.print(__version__)
        raise typer.Exit


@app.callback()
def _state_folder(
    home: Annotated[
        Path | None, typer.Option("--home", help=f"State folder; default: ${HOME_VARIABLE}, else var/.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    import os

    if home is not None:
        os.environ[HOME_VARIABLE] = str(home.resolve())


@app.command()
@for_each_target
def validate(config: Config) -> None:
    """Read and check every export; exit code 0 unless a contract is broken."""
    with session_of(config) as session:
        result = session.validate()
    from elv_pipeline.terminal import print_validation

    profile = result.document("data_profile.json")
    if profile.get("problem") == "outreach":
        answers.out.print((result.bundle / "data_profile.md").read_text(encoding="utf-8"), markup=False)
    else:
        print_validation(profile, console=answers.out)
    answers.print_bundle(result)


@app.command("build-table")
@for_each_target
def build_table(
    config: Config,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew",
            help="Forget earlier figures of ads: for exports that were wrong, not for days that the platform restated.",
        ),
    ] = False,
) -> None:
    """Build the table of features and labels over the whole calendar."""
    with session_of(config) as session:
        result, words = session.build_table(anew=anew), session.deployment.words
    answers.print_findings(result.document("data_profile.json")["findings"], severity="warning")
    counts, joins = result.document("label_counts.json"), result.document("join_stats.json")
    answers.out.print(
        f"{words.row_noun.count(counts['leads'])}: {counts['labelled']:,} labelled "
        f"({counts['labelled_positive']:,} positive), {counts['unknown']:,} unknown. Joined by: "
        + ", ".join(f"{method} {count:,}" for method, count in joins["by_method"].items()),
        markup=False,
    )
    answers.print_bundle(result)


@app.command()
@for_each_target
def train(
    config: Config,
    origin: Annotated[
        Day, typer.Option(formats=["%Y-%m-%d"], help="Weekly origin; default: the newest the data allow.")
    ] = None,
    as_of: Annotated[
        Day,
        typer.Option(
            "--as-of", formats=["%Y-%m-%d"], help="Train between two origins, on what was known before a day."
        ),
    ] = None,
) -> None:
    """Train, prove and promote: build the history, train as of the origin, judge on later rows."""
    if origin and as_of:
        raise ConfigError("train takes --origin or --as-of, not both.")
    with session_of(config) as session:
        result = session.train(origin.date() if origin else None, as_of=as_of.date() if as_of else None)
        decision = session.deployment.lake.read_json("champion")
    answers.print_metrics(result)
    answers.print_alerts(result)
    answers.print_decision(decision)
    answers.print_bundle(result)


@app.command()
@for_each_target
def backtest(
    config: Config,
    first: Annotated[Day, typer.Option("--from", formats=["%Y-%m-%d"], help="Oldest origin.")] = None,
    last: Annotated[Day, typer.Option("--to", formats=["%Y-%m-%d"], help="Newest origin.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Weeks from one origin to the next.")] = 1,
    horizon_days: Annotated[
        int, typer.Option("--horizon-days", min=1, help="Days after an origin whose leads judge its model.")
    ] = 28,
) -> None:
    """Train as of past origins and judge each model on the weeks that followed it."""
    with session_of(config) as session:
        result = session.backtest(
            first=first.date() if first else None,
            last=last.date() if last else None,
            every=every,
            horizon_days=horizon_days,
        )
        words = session.deployment.words
    answers.print_backtest(result.document("backtest.json"), words=words)
    answers.print_bundle(result)


@app.command("validate-model")
def validate_model(
    config: Config,
    origin: Annotated[
        Day, typer.Option(formats=["%Y-%m-%d"], help="Origin of the candidate; default: the newest one.")
    ] = None,
) -> None:
    """Judge every promotion gate of a candidate; exit code 7 when one fails."""
    with session_of(config) as session:
        document = session.validate_model(origin.date() if origin else None)
    answers.print_gates(document)
    if not document["passed"]:
        raise typer.Exit(PromotionRefusedError.exit_code)


@app.command()
def approve(config: Config, version: Version = "", reason: Reason = "", who: Who = "") -> None:
    """Promote the candidate that waits for a person (promotion.require_approval)."""
    with session_of(config) as session:
        entry = session.decide("approve", version=version, reason=reason, who=who)
    answers.print_decision(entry)


@app.command()
def promote(
    config: Config,
    version: Version = "",
    reason: Reason = "",
    who: Who = "",
    despite_gates: Annotated[
        bool, typer.Option("--despite-gates", help="Overrule failing gates; needs --reason.")
    ] = False,
) -> None:
    """Make a registered version the champion by hand."""
    with session_of(config) as session:
        entry = session.decide("promote", version=version, reason=reason, who=who, despite_gates=despite_gates)
    answers.print_decision(entry)


@app.command()
def rollback(
    config: Config,
    version: Annotated[str, typer.Option("--to", help="Version to return to; default: the champion before.")] = "",
    reason: Reason = "",
    who: Who = "",
) -> None:
    """Return to an earlier champion; the one left is not promoted again by itself."""
    with session_of(config) as session:
        entry = session.decide("rollback", version=version, reason=reason, who=who)
    answers.print_decision(entry)


@app.command()
def explain(
    config: Config,
    lead_id: Annotated[
        str,
        typer.Option("--lead-id", help="Id of a lead of the exports; of outreach an enrollment, or a moment of it."),
    ],
    model: Model = "",
) -> None:
    """Say what raises and lowers the score of one lead, or of the newest moment of an enrollment."""
    with session_of(config) as session:
        found = session.explain(lead_id, model=model)
        probability_column = session.deployment.config.probability_column
        currency, words = session.deployment.config.currency, session.deployment.words
    answers.print_explanation(found, probability_column=probability_column, currency=currency, words=words)


@app.command()
def challenger(config: Config, version: Version = "", reason: Reason = "", who: Who = "") -> None:
    """Compare the challenger with the champion; with --version let that version score beside the champion."""
    with session_of(config) as session:
        entry = session.decide("challenge", version=version, reason=reason, who=who) if version else None
        document, words = session.challenger(), session.deployment.words
    answers.print_decision(entry)
    answers.print_overlap(document, words=words)


@app.command()
@for_each_target
def models(config: Config) -> None:
    """List the registered versions: origin, champion or challenger, failed gates."""
    with session_of(config) as session:
        rows = session.models()
    if not rows:
        answers.out.print("No version yet. Start with 'elv train'.")
        return
    table = Table("version", "origin", "role", "ROC-AUC", "PR-AUC", "log loss", "failed gates")
    for row in rows:
        figures = (answers.number_of(row[name]) for name in ("roc_auc", "pr_auc", "log_loss"))
        table.add_row(row["version"], row["origin"], row["role"], *figures, ", ".join(row["failed_gates"]) or "none")
    answers.out.print(table)


@app.command()
@for_each_target
def score(
    config: Config,
    model: Model = "",
    first: Annotated[Day, typer.Option("--from", formats=["%Y-%m-%d"], help="First day to score.")] = None,
    last: Annotated[Day, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day to score.")] = None,
    no_persist_scores: Annotated[
        bool, typer.Option("--no-persist-scores", help="Score into the bundle and leave the database alone.")
    ] = False,
) -> None:
    """Score a range of days as the daily job does (default: the last four weeks of the data)."""
    with session_of(config) as session:
        result = session.score(
            first=first.date() if first else None,
            last=last.date() if last else None,
            model=model,
            persist=not no_persist_scores,
        )
    answers.print_top_campaigns(result)
    answers.print_alerts(result)
    answers.print_bundle(result)
    if any(alert["severity"] == "critical" for alert in result.document("alerts.json")):
        raise typer.Exit(ScoringRefusedError.exit_code)  # nothing was published


@app.command("batch-score")
def batch_score(
    config: Config,
    leads_path: Annotated[Path, typer.Option("--leads-path", help="CSV with the columns of the leads export.")],
    model: Model = "",
) -> None:
    """Score every lead of a file, such as today's; their outcomes are never looked at."""
    with session_of(config) as session:
        result = session.batch_score(leads_path, model=model)
    answers.print_top_campaigns(result)
    answers.print_alerts(result)
    answers.print_bundle(result)


@app.command()
def runs(limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20) -> None:
    """List the runs of this home, newest first."""
    from elv_pipeline.publishing.run_registry import list_runs

    rows = list_runs(Home.from_environment(), limit=limit)
    if not rows:
        answers.out.print("No run yet. Start with 'elv demo', or 'elv validate --config <file>'.")
        return
    table = Table("run", "when (UTC)", "configuration", "kind", "as of", "model", "leads", "ROC-AUC", "Brier", "alerts")
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows:
        table.add_row(
            row["run_id"],
            row["utc_timestamp"][:19],
            row["name"],
            row["kind"],
            row["as_of_date"] or "",
            row["model_version"] or "",
            f"{row['scored_rows']:,}",
            answers.number_of(row["roc_auc"]),
            answers.number_of(row["brier_score"]),
            str(row["alerts"]),
        )
    # Never narrower than its ids: --model runs/<run_id>/model.joblib is typed from this list.
    Console(highlight=False, markup=False, emoji=False, width=max(answers.out.width, _RUNS_WIDTH)).print(table)


@app.command()
def doctor() -> None:
    """Check this machine and the home folder; say what is wrong and what fixes it."""
    from elv_pipeline.doctor import examine

    checks = examine(Home.from_environment())
    for check in checks:
        answers.out.print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.message}", markup=False)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI on this home folder."""
    import os

    from elv_pipeline.orchestration.instance import prepare_home

    home = Home.from_environment()
    prepare_home(home)
    answers.out.print(f"Dagster UI on http://{host}:{port} for {home.root} (stop with Ctrl-C)", markup=False)
    os.chdir(home.dagster)  # Dagster warns about any other dagster.yaml in the working folder
    program = str(Path(sys.executable).with_name("dagster"))
    # Replaces this process, so that Ctrl-C and a service manager's signals reach Dagster itself.
    os.execv(program, [program, "dev", "-m", "elv_pipeline.definitions", "-h", host, "-p", str(port)])


app.command()(cli_demo.demo)
cli_operation.add_to(app)
cli_recommend.add_to(app)
app.add_typer(cli_experiment.app, name="experiment")


def main() -> None:
    """Entry point: an error of ours becomes one message and its exit code, never a traceback."""
    try:
        app()
    except ElvError as error:
        answers.print_error(error)
        sys.exit(error.exit_code)
