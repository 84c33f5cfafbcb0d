"""What leaves the pipeline: scores in databases, models in the registry, run bundles, pages, alerts; and erasure."""
