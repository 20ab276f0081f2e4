"""Prediction from features: the score of the slide by its bag, and a heatmap of its windows."""
