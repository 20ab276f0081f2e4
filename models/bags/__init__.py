"""Networks that take the features of a slide's windows as one bag, and score slide and windows."""
