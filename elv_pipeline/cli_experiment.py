"""Commands for experiments: plan one before it starts, allocate its units, analyse it at its looks.

Belongs here: their arguments, printing and the files they write. Does not belong here: any rule
(``decisions/experiments/``). Heavy imports stay inside the commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from elv_pipeline import answers
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import write_atomically

app = typer.Typer(help="Experiments: plan, allocate, analyse.", no_args_is_help=True)
Plan = Annotated[Path, typer.Option("--plan", help="The plan that 'elv experiment plan' wrote.")]


@app.command()
def plan(
    design: Annotated[Path, typer.Argument(help="Design as YAML or JSON; docs/EXPERIMENTS.md has one.")],
    out: Annotated[Path, typer.Option("--out", help="Where the plan is written.")] = Path("plan.json"),
) -> None:
    """Derive size, duration, looks, boundaries and rules from a design, before anybody has seen a result."""
    from elv_pipeline.decisions.experiments.files import read_design
    from elv_pipeline.decisions.experiments.plan import make_plan
    from elv_pipeline.decisions.experiments.plan_words import plan_lines

    made = make_plan(read_design(design))
    _say(plan_lines(made))
    _write(out, made.document())


@app.command()
def allocate(
    units: Annotated[
        Path, typer.Argument(help="Table with unit_id (and cluster_id, where clusters are drawn; stratum is optional).")
    ],
    plan: Plan,
    out: Annotated[Path, typer.Option("--out", help="Where units and arms are written.")] = Path("allocated.csv"),
) -> None:
    """Say for each unit of a file in which arm it is; the same unit is in the same arm for ever."""
    from elv_pipeline.decisions.experiments.drawing import drawn, drawn_lines
    from elv_pipeline.decisions.experiments.files import read_plan

    known = read_plan(plan)
    found = drawn(units, known)
    write_atomically(out, found.write_csv())
    _say([*drawn_lines(found, known), f"Written: {out}"])


@app.command()
def analyse(
    result: Annotated[Path, typer.Argument(help="One row a unit, in CSV, Excel or Parquet.")],
    plan: Plan,
    week: Annotated[
        list[int] | None, typer.Option("--week", help="Looks that were taken, where some were skipped; repeat it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the analysis as JSON.")] = None,
) -> None:
    """Judge an experiment by the boundaries of its plan; say go on, better, worse, not shown, or stop for harm."""
    from elv_pipeline.decisions.experiments.analysis import analyse as judge
    from elv_pipeline.decisions.experiments.analysis_words import analysis_lines
    from elv_pipeline.decisions.experiments.files import read_plan
    from elv_pipeline.decisions.experiments.results import read_results

    known = read_plan(plan)
    rows = read_results(result, known)
    try:
        found = judge(rows, known, weeks=tuple(week) if week else None)
    except ValueError as error:
        raise ConfigError(f"--week: {error}") from error
    _say(analysis_lines(found))
    if out is not None:
        _write(out, found.document())


def _say(lines: list[str]) -> None:
    for line in lines:
        answers.out.print(line, markup=False, soft_wrap=True)


def _write(path: Path, document: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(document, indent=2, sort_keys=True) + "\n")
    answers.out.print(f"Written: {path}", markup=False, soft_wrap=True)
