"""The way of a run: from the call of a user, over slices of psets, to the rows in the database."""

import os

CHAIN_VARIABLE = "PSWEEP_DASK_CHAIN"  # by which a driver job tells its script the id of the chain

_chain_id = os.environ.pop(CHAIN_VARIABLE, None)  # not for the workers, which inherit the others
if _chain_id is not None:
    from psweep_dask.driver import chain, run

    run.start = chain.Chain(_chain_id).start
