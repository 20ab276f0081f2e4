"""Options: those of several commands, their panels in `--help`, and settings from files."""
