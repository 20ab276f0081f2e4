"""The study of a curriculum: patches first, then whole slides, against whole slides alone."""
