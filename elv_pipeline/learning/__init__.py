"""Learning: splits, estimators, calibration, metrics, baselines and the model bundle, as pure functions.

Belongs here: everything that turns one training table into one judged model. Does not belong here: Dagster, MLflow,
SQL, the layout of folders (a bundle saves and loads exactly one file), or how a training table comes about.
"""
