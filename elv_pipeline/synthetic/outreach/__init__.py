"""A made-up outreach team whose mechanism is known, so that what is found and recommended can be judged.

Belongs here: generating the exports that a team would bring, and the truth behind them. Does not belong here: anything
that the pipeline itself needs; only the demonstration and its report import this.
"""
