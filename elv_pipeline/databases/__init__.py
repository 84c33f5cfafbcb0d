"""Talking to databases: connections, retries, permissions, the access log, statements and scripts."""
