"""What a careful analyst says about exports: findings, data checks, the profile, two verdicts."""
