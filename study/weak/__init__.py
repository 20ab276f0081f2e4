"""Study of weak labels of windows, alone and before strong ones."""
