"""Jobs of the server: a model predicts slides in a process of its own."""
