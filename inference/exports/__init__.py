"""Files made from heatmaps and detections: for viewers, for tables, and for other programs."""
