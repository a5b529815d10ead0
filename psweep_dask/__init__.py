"""Parameter sweeps on Dask: dicts in, a pandas DataFrame out, nothing finished is ever lost."""

import lazy_loader

__version__ = "0.1.0.dev0"

# The public names stand in __init__.pyi; each is imported when it is first asked for, since a
# command of the shell needs few of them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
