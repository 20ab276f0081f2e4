"""Report of a training, for people: page, curves, history, trackers."""
