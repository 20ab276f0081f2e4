"""Training of a network of windows from labels of whole slides, end to end: each slide teaches
through the windows that the network itself scores highest (top-k back-propagation)."""
