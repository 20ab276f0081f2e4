"""Networks run once over tiles larger than a patch, and pooled at the cells of a heatmap."""
