"""The monitoring page of a configuration."""
