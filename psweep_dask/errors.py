"""The root of all exceptions that this package raises on purpose."""


class PsweepError(Exception):
    """Base class: ``except ps.PsweepError`` catches every error of this package.

    Subclasses live in the module that raises them.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> try:
    ...     ps.run(len, [{"_run_id": 1}])
    ... except ps.PsweepError as err:
    ...     print(err)
    params[0]: the key '_run_id' is reserved for book-keeping; rename it
    """
