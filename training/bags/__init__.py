"""Training on bags of features: of whole slides by their labels, or of single windows."""
