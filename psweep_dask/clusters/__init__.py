"""Where slices run: this process, dask clusters, batch jobs. Only here and in `monitoring`: distributed."""
