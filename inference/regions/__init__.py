"""Segmentation of whole slides in tiles: a probability for each px, averaged over the cells of a
heatmap."""
