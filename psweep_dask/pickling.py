"""How anything of the user is pickled, be it func, a pset or a result."""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any, BinaryIO

import cloudpickle


def dumps(value: Any) -> bytes:
    """Pickle a value; classes and functions of the user's script go along by value.

    Their code keeps the name of its file, so that the lines of the source are in tracebacks.
    cloudpickle drops that name since version 3.1.2, to give the same bytes in any notebook.

    Examples
    --------
    >>> pickle.loads(dumps({"a": 1}))
    {'a': 1}
    """
    stream = io.BytesIO()
    dump(value, stream)
    return stream.getvalue()


def dump(value: Any, stream: BinaryIO, **kwds: Any) -> None:
    """Pickle a value in the same way into a file; `kwds` are those of ``pickle.dump``."""
    pickler: Any = _Pickler  # untyped, as its base is
    pickler(stream, **{"protocol": pickle.HIGHEST_PROTOCOL, **kwds}).dump(value)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    return _make_code, (code.co_filename, *_REDUCERS[CodeType](code)[:2])


def _make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=filename)


_REDUCERS: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):
    """Tells of classes by value where in the script they are, which cloudpickle does not."""

    dispatch_table = ChainMap({CodeType: _reduce_code}, _REDUCERS)  # noqa: RUF012  (as in its base)

    def reducer_override(self, obj: Any) -> Any:
        made: Any = super().reducer_override(obj)  # type: ignore[no-untyped-call]  # (of a base without types)
        if isinstance(made, tuple) and made[0] is cloudpickle.cloudpickle._make_skeleton_class:
            kind, name, bases, attributes, *rest = made[1]
            attributes = {**attributes, "__qualname__": obj.__qualname__}
            return made[0], (kind, name, bases, attributes, *rest), *made[2:]
        return made
