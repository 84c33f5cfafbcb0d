"""Experiments: planned before they run, allocated by a published hash, looked at weekly, judged at their boundary."""
