"""Watching what the models are fed and what they say: drift now, realised performance as cohorts mature."""
