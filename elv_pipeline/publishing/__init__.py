"""Model registry, SQL scores, run bundles, reports and cards."""
