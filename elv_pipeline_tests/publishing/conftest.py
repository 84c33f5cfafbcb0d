"""Fixtures that several tests of publishing share; each lives where its subject is."""

from __future__ import annotations

from elv_pipeline_tests.databases.servers import postgres_database, postgres_server
from elv_pipeline_tests.publishing.registered import table, world
from elv_pipeline_tests.publishing.score_samples import engine, scores

__all__ = ["engine", "postgres_database", "postgres_server", "scores", "table", "world"]
