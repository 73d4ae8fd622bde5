"""Redis: the passing word between processes, single-use tickets and rate limits. Losing it all loses no fact."""
