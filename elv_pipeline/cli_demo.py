"""The demonstrations: a synthetic advertiser, or a synthetic outreach organisation, with a known truth.

Belongs here: arguments and printing. Does not belong here: the demos themselves (``orchestration/demo.py``,
``orchestration/outreach_demo.py``). Heavy imports stay inside the functions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elv_pipeline import answers, cli_recommend
from elv_pipeline.cli_session import progress
from elv_pipeline.home import Home

if TYPE_CHECKING:
    from elv_pipeline.orchestration.demo import DemoResult


def demo(
    problem: Annotated[
        Literal["lead_ads", "outreach"],
        typer.Option("--problem", help="Leads of an advertiser, or contacts of an outreach organisation."),
    ] = "lead_ads",
    leads: Annotated[
        int | None, typer.Option(min=2_000, help="Leads of the advertiser (12,000), or contacts (3,000).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic exports.")] = 7,
    drift: Annotated[bool, typer.Option("--drift", help="Let rate and mix move at the end of the period.")] = False,
) -> None:
    """Take a synthetic advertiser or organisation with a known truth through the whole graph."""
    start = time.monotonic()
    if problem == "outreach":
        _outreach_demo(contacts=leads or 3_000, seed=seed, drift=drift)
    else:
        _advertiser_demo(leads=leads or 12_000, seed=seed, drift=drift)
    answers.out.print(f"Took {time.monotonic() - start:.0f} s. Look around with: make ui")


def _advertiser_demo(*, leads: int, seed: int, drift: bool) -> None:
    with progress():
        from elv_pipeline.orchestration.demo import demo_session, run_demo
        from elv_pipeline.synthetic.advertiser import AdvertiserSpec

        with demo_session(Home.from_environment(), AdvertiserSpec(leads=leads, seed=seed, drift=drift)) as session:
            result = run_demo(session)
    _print_demo(result)


def _outreach_demo(*, contacts: int, seed: int, drift: bool) -> None:
    with progress():
        from elv_pipeline.orchestration.outreach_demo import run_outreach_demo
        from elv_pipeline.synthetic.outreach.spec import OutreachSpec

        spec = OutreachSpec(contacts=contacts, seed=seed, trend_break_at=0.7 if drift else None)
        found = list(run_outreach_demo(Home.from_environment(), spec))
    for one in found:
        answers.out.rule(one.config.target, align="left")
        _print_demo(one.demo)
        if one.recommendations is not None:
            cli_recommend.print_recommendations(one.recommendations, currency=one.config.currency)


def _print_demo(result: DemoResult) -> None:
    answers.print_metrics(result.training)
    answers.print_decision(result.decision)
    answers.print_truth(result.scoring)
    answers.print_top_campaigns(result.scoring)
    answers.print_alerts(result.scoring)
    answers.print_bundle(result.scoring)
