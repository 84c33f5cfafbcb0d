"""Commands for whoever runs the pipeline day by day: read, score, write, undo, approve, tidy up, erase.

Belongs here: their arguments and printing. Does not belong here: any logic (``orchestration/``, ``publishing/``).
Heavy imports stay inside the commands.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from elv_pipeline import answers, answers_operation
from elv_pipeline.cli_session import for_each_target, session_of
from elv_pipeline.errors import ConfigError, HeldBackError, ScoringRefusedError
from elv_pipeline.home import Home

Config = Annotated[Path, typer.Option("--config", "-c", help="Configuration file; copy configs/lead_ads.yaml.")]
Who = Annotated[str, typer.Option("--who", help="Your name for the audit log; default: the account.")]
Day = datetime | None
DAYS = ["%Y-%m-%d"]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    commands: dict[str, Callable[..., None]] = {
        "run-daily": run_daily,
        "extract": extract,
        "write-scores": write_scores,
        "rollback-scores": rollback_scores,
        "migrate-scores": migrate_scores,
        "release-day": release_day,
        "approve-target": approve_target,
        "approve-model": approve_model,
        "purge": purge,
        "forget": forget,
    }
    for name, command in commands.items():
        app.command(name)(command)


@for_each_target
def run_daily(
    config: Config,
    mode: Annotated[
        Literal["predict", "train"], typer.Option(help="Score yesterday, or train on the weeks before it.")
    ] = "predict",
    days_back: Annotated[
        int | None,
        typer.Option("--days-back", min=1, help="Days that are read anew; default: 90, in train mode 120 (extracts)."),
    ] = None,
    since: Annotated[Day, typer.Option(formats=DAYS, help="First day that is read, instead of --days-back.")] = None,
    until: Annotated[
        Day, typer.Option(formats=DAYS, help="Day that is not reached any more; the day before it is scored.")
    ] = None,
    artifacts_dir: Annotated[
        str, typer.Option("--artifacts-dir", help="Run bundle whose model scores; default: the champion.")
    ] = "",
    outcomes_query_file: Annotated[
        Path | None, typer.Option("--outcomes-query-file", help="Query of the outcomes, instead of extracts.outcomes.")
    ] = None,
    training_examples_query_file: Annotated[
        Path | None,
        typer.Option("--training-examples-query-file", help="Query of the leads, instead of extracts.leads."),
    ] = None,
    no_persist_scores: Annotated[
        bool, typer.Option("--no-persist-scores", help="Score into the bundle and leave the database alone.")
    ] = False,
) -> None:
    """Do what the schedules of a day do: read, score, persist, refresh labels, watch, tell."""
    with session_of(config) as session:
        from elv_pipeline.orchestration.daily_life import DailyRequest, run_daily

        queries = {"outcomes": outcomes_query_file, "leads": training_examples_query_file}
        request = DailyRequest(
            mode=mode,
            since=since.date() if since else None,
            until=until.date() if until else None,
            days_back=days_back,
            model=_model_of(artifacts_dir),
            queries={table: path for table, path in queries.items() if path is not None},
            persist=not no_persist_scores,
        )
        result = run_daily(session, request)
    if mode == "train":
        answers.print_metrics(result.result)
        answers.print_decision(session.deployment.lake.read_json("champion"))
    else:
        answers.print_top_campaigns(result.result)
    answers_operation.print_day(result)
    answers.print_bundle(result.result)
    if any(alert["severity"] == "critical" for alert in result.result.document("alerts.json")):
        raise typer.Exit(ScoringRefusedError.exit_code)
    if result.held:
        raise typer.Exit(HeldBackError.exit_code)


def _model_of(artifacts: str, *, option: str = "--artifacts-dir") -> str:
    """Model file of a run bundle, given as its folder, its run id or the file itself."""
    if not artifacts:
        return ""
    given = Path(artifacts)
    places = (given, given / "model.joblib", Home.from_environment().runs / artifacts / "model.joblib")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(
            f"{option} {artifacts}: there is no model.joblib in that folder, and no run of that id. "
            f"'elv runs' lists the runs."
        )
    return str(found)


def extract(
    config: Config,
    since: Annotated[Day, typer.Option(formats=DAYS, help="First day of the window.")] = None,
    until: Annotated[Day, typer.Option(formats=DAYS, help="Day after the last one of the window.")] = None,
) -> None:
    """Read what the configured queries deliver into new snapshots; reads only."""
    with session_of(config, of_any_target=True) as session:
        document = session.extract(since=since.date() if since else None, until=until.date() if until else None)
    answers_operation.print_extracts(document)


def write_scores(
    predictions_csv: Annotated[Path, typer.Option("--predictions-csv", help="predictions.csv of a run bundle.")],
    metrics_json: Annotated[Path, typer.Option("--metrics-json", help="metrics.json of the same bundle.")],
    split: Annotated[Literal["all", "test", "train"], typer.Option(help="Which leads are written.")] = "all",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration; default: the one that the bundle names.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count exactly and write nothing.")] = False,
    who: Who = "",
) -> None:
    """Write the scores of a run bundle to the database of scores."""
    from elv_pipeline.orchestration.publication import write_bundle

    counts = write_bundle(
        Home.from_environment(),
        predictions_csv=predictions_csv,
        metrics_json=metrics_json,
        split=split,
        config_path=config,
        dry_run=dry_run,
        who=who,
    )
    answers_operation.print_written(counts, dry_run=dry_run)


def rollback_scores(
    config: Config,
    run_id: Annotated[str, typer.Option("--run-id", help="Undo what this run wrote.")] = "",
    day: Annotated[
        Day, typer.Option(formats=DAYS, help="Return the leads of this day to what they were before.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --day: one run further back than the rollback before.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the ledger.")] = "",
    who: Who = "",
) -> None:
    """Return scores to what they were before a run, or those of a day to what the run before told."""
    if bool(run_id) == (day is not None):
        raise ConfigError("rollback-scores needs exactly one of --run-id and --day.")
    with session_of(config) as session:
        from elv_pipeline.orchestration.publication import roll_back

        only = day.date() if day else None
        counts = roll_back(session.deployment, run_id=run_id, day=only, again=again, reason=reason, who=who)
    answers_operation.print_rolled_back(counts)


def migrate_scores(
    config: Config,
    url_variable: Annotated[
        str, typer.Option("--url-variable", help="Environment variable with the owner's address of the same database.")
    ] = "",
) -> None:
    """Create the tables of scores or bring them up to date, with the login of their owner; writes no score."""
    from elv_pipeline.config_file import load_targets
    from elv_pipeline.orchestration.publication import migrate_scores

    home, first = Home.from_environment(), load_targets(config)[0]  # all targets of a file write to one database
    place, done = migrate_scores(home.placed(first), home, url_variable=url_variable)
    answers.out.print(f"{place}: {', '.join(done) or 'up to date'}", markup=False, soft_wrap=True)


def release_day(
    config: Config,
    day: Annotated[datetime, typer.Option(formats=DAYS, help="A day that is held back.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it may be scored as it is.")],
    who: Who = "",
) -> None:
    """Let a held day be scored as it is by the next run, such as a holiday with few leads."""
    with session_of(config) as session:
        from elv_pipeline.orchestration.housekeeping import release_day
        from elv_pipeline.orchestration.workspace import account

        release_day(session.deployment, day.date(), reason=reason, who=who or account())
    answers.out.print(f"{day.date()} is released; the next daily run scores it.")


def approve_target(
    config: Config,
    reason: Annotated[str, typer.Option("--reason", help="Why scores may go there.")],
    who: Who = "",
) -> None:
    """Allow scores to be written to the configured database, before the first write in prod."""
    with session_of(config) as session:
        from elv_pipeline.orchestration.publication import approve

        approval = approve(session.deployment, who=who, reason=reason)
    answers.out.print(
        f"Approved for {approval.environment} by {approval.who}: {approval.target}", markup=False, soft_wrap=True
    )


def approve_model(
    config: Config,
    model: Annotated[str, typer.Option("--model", help="Its run id, bundle or model.joblib.")],
    reason: Annotated[str, typer.Option("--reason", help="Why its scores may be acted on.")],
    who: Who = "",
) -> None:
    """Allow a model to write scores without being the champion, as prod asks for."""
    with session_of(config) as session:
        from elv_pipeline.orchestration.publication import allow_model

        given = allow_model(session.deployment, Path(_model_of(model, option="--model")), who=who, reason=reason)
    answers.out.print(
        f"Version {given.version} (SHA-256 {given.sha256[:12]}…) is approved for {given.environment} by {given.who}. "
        f"Score with it: --artifacts-dir, or --model.",
        markup=False,
        soft_wrap=True,
    )


@for_each_target
def purge(
    config: Config,
    older_than: Annotated[
        int | None, typer.Option("--older-than", min=1, help="Days; default: the configuration's retention.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove snapshots, bundles and run records that are old and that nothing needs any more."""
    with session_of(config) as session:
        from elv_pipeline.orchestration.housekeeping import purge_home
        from elv_pipeline.orchestration.instance import require_alone

        require_alone(session.instance)
        report = purge_home(
            session.deployment, session.instance, older_than=older_than, dry_run=dry_run, now=datetime.now(UTC)
        )
    answers_operation.print_purge(report)


def forget(
    config: Config,
    id: Annotated[
        str, typer.Option("--id", help="Id of the lead, as in the exports; of outreach of a contact or an enrollment.")
    ],
    who: Who = "",
) -> None:
    """Erase a lead or a contact from lake, snapshots, scores, history and bundles, and prove it by a search."""
    with session_of(config, of_any_target=True) as session:
        from elv_pipeline.orchestration.housekeeping import forget_lead
        from elv_pipeline.orchestration.workspace import account

        report = forget_lead(session.deployment, session.instance, id, who=who or account())
    answers_operation.print_forgotten(report)
    if not report.proven:
        raise typer.Exit(1)
