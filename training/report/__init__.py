"""What a person sees of a training: page, curves, history, trackers."""
