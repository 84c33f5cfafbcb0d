"""From bytes to typed columns of one table, or an error with its place; nothing here knows a second table."""
