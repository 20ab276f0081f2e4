"""Networks, and the patches that each takes."""
