"""Telling people what changed: messages, channels, and the outbox in between."""
