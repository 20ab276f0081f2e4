"""Workers of Dask and jobs of queueing systems."""
