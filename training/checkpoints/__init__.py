"""Checkpoints of a training and their folders on disk."""
