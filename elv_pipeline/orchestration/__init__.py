"""The only package that imports Dagster: assets, checks, partitions, jobs, schedules, resources.

Belongs here: wiring. Does not belong here: anything worth testing without Dagster; assets read, call one pure
function, write and describe.
"""
