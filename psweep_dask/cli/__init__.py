"""The commands of the shell: `psweep-dask` and those with the names that psweep gave them."""
