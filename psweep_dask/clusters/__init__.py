"""Where slices run: this process, dask clusters, batch jobs.

Only here and in `psweep_dask.monitoring` is distributed imported.
"""
