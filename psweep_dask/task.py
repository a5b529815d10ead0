"""The name by which job scripts of older versions call `psweep_dask.offline.job`."""

import sys

from psweep_dask.offline.job import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
