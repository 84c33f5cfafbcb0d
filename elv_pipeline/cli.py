"""The `elv` command: arguments in, a short answer out.

Belongs here: arguments, progress and printing. Does not belong here: any logic; every command selects assets and
materialises them (``orchestration/commands.py``). Heavy imports stay inside the commands, so that ``elv --help`` and
``elv doctor`` answer at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from elv_pipeline import __version__
from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.home import HOME_VARIABLE, Home

if TYPE_CHECKING:
    from elv_pipeline.orchestration.commands import CommandResult, Session

app = typer.Typer(
    name="elv",
    help="Expected lead value: which leads are worth acting on, how sure that is, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# No markup: a campaign called "[prospecting] Germany" would lose its first word, one called "[/x]" would raise.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

Config = Annotated[Path, typer.Option("--config", "-c", help="Configuration file; copy configs/lead_ads.yaml.")]
Model = Annotated[str, typer.Option("--model", help="model.joblib of a run bundle; default: the champion.")]
Day = datetime | None
_RUNS_WIDTH = 190
_SHOWN_METRICS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "lift_at_10pct": "lift at 10 %",
    "calibration_mae": "calibration MAE",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
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
def validate(config: Config) -> None:
    """Read and check every export; exit code 0 unless a contract is broken."""
    with _session(config) as session:
        result = session.validate()
    from elv_pipeline.terminal import print_validation

    profile = result.document("data_profile.json")
    print_validation(profile, console=out)
    _print_bundle(result)


@app.command("build-table")
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
    with _session(config) as session:
        result = session.build_table(anew=anew)
    _print_findings(result.document("data_profile.json")["findings"], severity="warning")
    counts, joins = result.document("label_counts.json"), result.document("join_stats.json")
    out.print(
        f"{counts['leads']:,} leads: {counts['labelled']:,} labelled ({counts['labelled_positive']:,} positive), "
        f"{counts['unknown']:,} unknown. Joined by: "
        + ", ".join(f"{method} {count:,}" for method, count in joins["by_method"].items()),
        markup=False,
    )
    _print_bundle(result)


@app.command()
def train(
    config: Config,
    origin: Annotated[
        Day, typer.Option(formats=["%Y-%m-%d"], help="Train as of this day; default: the newest the data allow.")
    ] = None,
) -> None:
    """Train, prove and promote: build the history, train as of the origin, judge on later rows."""
    with _session(config) as session:
        result = session.train(origin.date() if origin else None)
        decision = session.deployment.lake.read_json("champion")
    _print_metrics(result)
    _print_alerts(result)
    if decision is not None:
        word = "promoted to champion" if decision["promoted"] else "champion kept"
        out.print(f"Decision: {word}; {decision['reason']}.", markup=False)
    _print_bundle(result)


@app.command()
def score(
    config: Config,
    model: Model = "",
    first: Annotated[Day, typer.Option("--from", formats=["%Y-%m-%d"], help="First day to score.")] = None,
    last: Annotated[Day, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day to score.")] = None,
) -> None:
    """Score a range of days as the daily job does (default: the last four weeks of the data)."""
    with _session(config) as session:
        result = session.score(first=first.date() if first else None, last=last.date() if last else None, model=model)
    _print_top_campaigns(result)
    _print_alerts(result)
    _print_bundle(result)


@app.command("batch-score")
def batch_score(
    config: Config,
    leads_path: Annotated[Path, typer.Option("--leads-path", help="CSV with the columns of the leads export.")],
    model: Model = "",
) -> None:
    """Score every lead of a file, such as today's; their outcomes are never looked at."""
    with _session(config) as session:
        result = session.batch_score(leads_path, model=model)
    _print_top_campaigns(result)
    _print_alerts(result)
    _print_bundle(result)


@app.command()
def demo(
    leads: Annotated[int, typer.Option(min=2_000, help="Size of the synthetic advertiser.")] = 12_000,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic advertiser.")] = 7,
    drift: Annotated[bool, typer.Option("--drift", help="Let rate and mix move at the end of the period.")] = False,
) -> None:
    """Take a synthetic advertiser with a known truth through the whole graph."""
    start = time.monotonic()
    with _progress():
        from elv_pipeline.orchestration.demo import demo_session, run_demo
        from elv_pipeline.synthetic.advertiser import AdvertiserSpec

        with demo_session(Home.from_environment(), AdvertiserSpec(leads=leads, seed=seed, drift=drift)) as session:
            result = run_demo(session)
    _print_metrics(result.training)
    _print_truth(result.scoring)
    _print_top_campaigns(result.scoring)
    _print_alerts(result.scoring)
    _print_bundle(result.scoring)
    out.print(f"Took {time.monotonic() - start:.0f} s. Look around with: make ui")


@app.command()
def runs(limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20) -> None:
    """List the runs of this home, newest first."""
    from elv_pipeline.publishing.run_registry import list_runs

    rows = list_runs(Home.from_environment(), limit=limit)
    if not rows:
        out.print("No run yet. Start with 'elv demo', or 'elv validate --config <file>'.")
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
            _number(row["roc_auc"]),
            _number(row["brier_score"]),
            str(row["alerts"]),
        )
    # Never narrower than its ids: --model runs/<run_id>/model.joblib is typed from this list.
    Console(highlight=False, markup=False, emoji=False, width=max(out.width, _RUNS_WIDTH)).print(table)


@app.command()
def doctor() -> None:
    """Check this machine and the home folder; say what is wrong and what fixes it."""
    from elv_pipeline.doctor import examine

    checks = examine(Home.from_environment())
    for check in checks:
        out.print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.message}", markup=False)
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
    out.print(f"Dagster UI on http://{host}:{port} for {home.root} (stop with Ctrl-C)", markup=False)
    os.chdir(home.dagster)  # Dagster warns about any other dagster.yaml in the working folder
    program = str(Path(sys.executable).with_name("dagster"))
    # Replaces this process, so that Ctrl-C and a service manager's signals reach Dagster itself.
    os.execv(program, [program, "dev", "-m", "elv_pipeline.definitions", "-h", host, "-p", str(port)])


def main() -> None:
    """Entry point: an error of ours becomes one message and its exit code, never a traceback."""
    try:
        app()
    except ElvError as error:
        Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(f"error: {error}", markup=False)
        sys.exit(error.exit_code)


@contextmanager
def _session(config: Path) -> Iterator[Session]:
    from elv_pipeline.settings import load_config

    if config.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--config {config}: a configuration is a .yaml file. Copy configs/lead_ads.yaml.")
    loaded = load_config(config)
    with _progress():
        from elv_pipeline.orchestration.commands import opened

        with opened(loaded, Home.from_environment()) as session:
            yield session


@contextmanager
def _progress() -> Iterator[None]:
    """Show each asset as it begins; the step before it with the time it took."""
    begun: list[tuple[str, str, float]] = []

    def finish() -> None:
        if begun:
            name, what, at = begun.pop()
            out.print(f"  {name:<22} {what} [{time.monotonic() - at:.1f} s]", markup=False)

    with out.status("starting") as status:

        def listener(name: str, what: str) -> None:
            finish()
            begun.append((name, what, time.monotonic()))
            status.update(f"{name}: {what}")

        from elv_pipeline.orchestration.resources import listening

        with listening(listener):
            yield
        finish()


def _print_findings(findings: list[dict[str, str]], *, severity: str | None = None) -> None:
    for finding in findings:
        if severity in (None, finding["severity"]):
            remedy = f" {finding['remedy']}" if finding["remedy"] else ""
            out.print(f"{finding['severity']:<8}{finding['code']}: {finding['message']}{remedy}", markup=False)


def _print_metrics(result: CommandResult) -> None:
    from elv_pipeline.publishing.content import day_span, moment

    metrics, manifest = result.document("metrics.json"), result.document("metadata.json")
    test = metrics["test"]
    baselines = [name for name in ("logistic_regression", "campaign_rate", "constant") if name in metrics["models"]]
    table = Table(
        "on later leads", f"{manifest['model_type']} [95 % interval]", *(name.split("_")[0] for name in baselines)
    )
    for metric, label in _SHOWN_METRICS.items():
        figures = metrics["models"]
        others = (_number(figures[name][metric]["value"]) for name in baselines)
        table.add_row(label, _interval(figures["model"][metric]), *others)
    out.print(table)
    zone = manifest["timezone"]
    out.print(
        f"Judged on {test['rows']:,} leads ({test['positives']:,} qualified, {test['base_rate']:.1%}) created "
        f"{day_span(test['from'], test['until'], timezone=zone)}; intervals resample {test['resampled']}; calibrated "
        f"by {manifest['calibration_method']}; trained as of {moment(manifest['model_origin'], timezone=zone)}.",
        markup=False,
    )
    for note in manifest["split"]["notes"]:
        out.print(f"note: {note}", markup=False)


def _print_truth(result: CommandResult) -> None:
    truth = result.document("metadata.json").get("truth")
    if truth is None:
        return
    model, perfect = truth["model"], truth["perfect"]
    out.print(
        f"Against the truth on {truth['rows']:,} scored leads the model never saw: ROC-AUC {_number(model['roc_auc'])} "
        f"(a perfect model: {_number(perfect['roc_auc'])}), log loss {_number(model['log_loss'])} "
        f"({_number(perfect['log_loss'])}), mean prediction {truth['mean_prediction']:.1%} (truth "
        f"{truth['mean_truth']:.1%}).",
        markup=False,
    )


def _print_top_campaigns(result: CommandResult, *, most: int = 5) -> None:
    import polars as pl

    from elv_pipeline.contracts.outputs import CAMPAIGN_LEADERBOARD

    path = result.bundle / "leaderboard_campaign.csv"
    if not path.is_file():
        scored = result.document("metadata.json")["scored_rows"]
        reason = "No scored lead carries a campaign id" if scored else "There are no leads on these days"
        out.print(f"{reason}: there is no campaign leaderboard.")
        return
    board = pl.read_csv(path, schema_overrides=CAMPAIGN_LEADERBOARD.schema).head(most)
    spent = board["spend"].null_count() < board.height
    table = Table(
        "campaign",
        "leads",
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


def _print_alerts(result: CommandResult) -> None:
    for alert in result.document("alerts.json"):
        out.print(f"{alert['severity']:<8}{alert['code']}: {alert['message']} {alert['action']}", markup=False)


def _print_bundle(result: CommandResult) -> None:
    for warning in result.run.warnings:
        out.print(f"warning {warning}", markup=False)
    pages = [result.bundle / name for name in ("report.html", "validation.html")]
    shown = next((page for page in pages if page.is_file()), result.bundle)
    out.print(f"Run {result.run.run_id}: {shown}", markup=False)


def _interval(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None or figure["high"] is None:
        return _number(figure["value"])
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
