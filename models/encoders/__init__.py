"""Encoders: from windows to feature vectors. Each kind has a module of its own."""
