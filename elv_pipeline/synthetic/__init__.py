"""A made-up advertiser whose true probabilities are known, so that calibration and ranking can be judged.

Belongs here: generating the exports that a user would bring, and comparing predictions with the truth behind them.
Does not belong here: anything that the pipeline itself needs; only the demonstration and its report import this.
"""
