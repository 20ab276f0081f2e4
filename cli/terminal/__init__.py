"""The terminal: lines, progress bars, tables and errors."""
