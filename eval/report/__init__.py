"""Tables, plots, pictures and pages."""
