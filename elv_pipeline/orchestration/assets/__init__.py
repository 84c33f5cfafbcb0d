"""The asset functions, by group: they read, call the layers above, write, and describe."""
