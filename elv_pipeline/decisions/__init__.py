"""From a probability to a decision: expected value, rankings and leaderboards."""
