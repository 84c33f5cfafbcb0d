from __future__ import annotations

from elv_pipeline_tests.databases.servers import postgres_database, postgres_server

__all__ = ["postgres_database", "postgres_server"]
