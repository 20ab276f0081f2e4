"""Features of a slide's windows: on disk as Zarr, and in the HDF5 files of other programs."""
