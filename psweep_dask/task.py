"""The old name of `psweep_dask.offline.job`, by which older job scripts call it."""

import sys

from psweep_dask.offline.job import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
