"""Curves, intervals and comparisons from slide results."""
