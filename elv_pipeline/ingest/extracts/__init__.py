"""From queries to snapshots: immutable files with a manifest, which ingestion reads like any folder of exports."""
