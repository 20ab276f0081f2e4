"""Judgement of a trained network: on patches and whole slides, while it learns and after."""
