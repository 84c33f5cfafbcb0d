"""Expected lead value: what a lead is worth acting on, from what was known at the time."""

__version__ = "0.1.0"
