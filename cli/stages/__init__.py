"""Stages as the commands call them: where they run, a bar, one call of a room, their results."""
