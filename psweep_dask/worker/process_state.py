"""What the psets of a process share: put back where func has broken it for the psets after it."""

from __future__ import annotations

import builtins
import os
import sys

_callable = callable


class ProcessState:
    """Remembers what func may break in its process without being meant to.

    What func may want is left as it is: another function under the name of a builtin, an
    environment variable, a module that it imports again.

    Examples
    --------
    >>> state = ProcessState()
    >>> setattr(builtins, "len", None), state.mend(), len("abc"), state.mend()
    (None, True, 3, False)
    """

    def __init__(self) -> None:
        self._builtins = dict(vars(builtins))
        self._modules = sys.modules
        self._loaded = dict(sys.modules)
        self._environ = os.environ
        self._variables = dict(os.environ)

    def mend(self) -> bool:
        """Put back what is broken; return whether something was."""
        broken = False
        # First the builtins, and without those that may be broken.
        if builtins.__dict__ != self._builtins:
            for name, value in self._builtins.items():
                if _callable(value) and not _callable(builtins.__dict__.get(name)):
                    builtins.__dict__[name] = value
                    broken = True
        if sys.modules is not self._modules or "sys" not in sys.modules:
            sys.modules = self._modules
            for name, module in self._loaded.items():
                sys.modules.setdefault(name, module)
            broken = True
        elif len(self._loaded) != len(sys.modules):
            self._loaded = dict(sys.modules)
        if not hasattr(os, "environ"):
            os.__dict__["environ"] = self._environ
            broken = True
        if not os.environ and self._variables:
            os.environ.update(self._variables)
            broken = True
        return broken
