"""Tumour probability of a slide's cells: on disk, as regions, as contours and as a picture."""
