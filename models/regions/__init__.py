"""Segmentation of regions: a U-Net, and its predictions on tiles."""
