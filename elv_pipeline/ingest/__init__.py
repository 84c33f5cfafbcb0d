"""From a user's exports to checked canonical tables; nothing here writes anything."""
