"""Answers about what people draw: outlines, drafts, review, and blind slides."""
