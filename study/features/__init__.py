"""Studies whose learners see the features of windows."""
