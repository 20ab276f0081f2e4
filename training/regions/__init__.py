"""Training of a network that segments regions, from outlines on slides."""
