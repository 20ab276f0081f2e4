"""Feature vectors of windows: encoded block by block, imported, exported."""
