"""Stand-ins for values that are not restored in this process, and the unpickler that makes them.

A stand-in knows by which call its value would have been made. It is pickled as that call. So a
process that rewrites a database loses no value that it could not restore itself.
"""

from __future__ import annotations

import operator
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar

from psweep_dask._format import short_repr

RESOLVE = (pkgutil.__name__, pkgutil.resolve_name.__name__)
"""The function by which pickles name what a process could not import. It takes "module:name"."""


_PythonUnpickler: Any = pickle._Unpickler  # that in C cannot be changed so


class StandIn:
    """In the place of a value. Its repr says why the value is not there.

    Parameters
    ----------
    function : callable
        What makes the value; may be a stand-in, too.
    args : tuple
        Its arguments.
    name : str
        Of the class or function.
    reason : str
        Why it is not restored; empty if it could be, but was not tried.
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], name: str, reason: str
    ) -> None:
        self._call = (function, args)
        self._states: list[Any] = []
        self._items: list[Any] = []
        self._pairs: list[tuple[Any, Any]] = []
        self.name = name
        self.reason = reason

    def __call__(self, *args: Any) -> StandIn:
        """Return a stand-in for what the call would have returned."""
        return StandIn(self, args, self.name, self.reason)

    def __setstate__(self, state: Any) -> None:
        self._states = [state]

    def append(self, item: Any) -> None:
        """Keep an item of what would be a list."""
        self._items.append(item)

    def extend(self, items: Any) -> None:
        """Keep items of what would be a list."""
        self._items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._pairs.append((key, value))

    def __reduce__(self) -> tuple[Any, ...]:
        state = self._states[0] if self._states else None
        items = iter(self._items) if self._items else None
        return *self._call, state, items, iter(self._pairs) if self._pairs else None

    def __copy__(self) -> StandIn:
        return self

    def __deepcopy__(self, memo: Any) -> StandIn:
        return self

    def __repr__(self) -> str:
        if self.reason:
            return f"<a value that cannot be restored here: {self.reason}>"
        state = self._states[0] if self._states else self._items or self._pairs
        values = state if state else [arg for arg in self._call[1] if type(arg) is not StandIn]
        return f"<{self.name} {short_repr(values)}>" if values else f"<{self.name}>"


def global_stand_in(module: str, name: str, reason: str) -> StandIn:
    """Return a stand-in for a class or function, by its name."""
    return StandIn(pkgutil.resolve_name, (f"{module}:{name}",), f"{module}.{name}", reason)


class Unpickler(_PythonUnpickler):  # type: ignore[misc]  # (its types are not known)
    """Puts a stand-in where a class is missing, or where a call of the pickle raises anything.

    It is ten times slower than that in C. What still raises is damage to the pickle itself.
    """

    passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt, MemoryError)
    """What is raised, and is no reason for a stand-in."""

    def __init__(self, stream: Any, **kwargs: Any) -> None:
        super().__init__(stream, **kwargs)
        self.made: list[StandIn] = []
        # By id, with the object, so that it lives and no other gets that id:
        self._names: dict[int, tuple[Any, str, str]] = {}  # classes and functions
        self._calls: dict[int, tuple[Any, Any, tuple[Any, ...], dict[str, Any] | None]] = {}

    def find_global(self, module: str, name: str) -> Any:
        """Return a class or function. Whatever this raises becomes a stand-in."""
        return super().find_class(module, name)

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function, or a stand-in for it."""
        try:
            found = self.find_global(module, name)
        except BaseException as err:
            found = self._noted(global_stand_in(module, name, self._reason(err)))
        self._names[id(found)] = (found, module, name)
        return found

    def _reason(self, err: BaseException, values: Any = ()) -> str:
        if isinstance(err, self.passed_on):
            raise err
        inner = [value.reason for value in _flat(values) if type(value) is StandIn]
        return inner[0] if inner else repr(err)

    def _noted(self, stand_in: StandIn) -> StandIn:
        self.made.append(stand_in)
        return stand_in

    def _named(self, function: Any, reason: str) -> Any:
        """Return what is pickled as a name, whatever has been found under that name here."""
        if type(function) is StandIn or id(function) not in self._names:
            return function
        _, module, name = self._names[id(function)]
        return global_stand_in(module, name, reason)

    def _for_call(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, reason: str
    ) -> StandIn:
        """Return a stand-in for a call, or with `kwargs`, for a new object of a class."""
        named = self._named(function, reason)
        name = getattr(named, "name", repr(named))
        if name.rpartition(".")[2].startswith("_make_skeleton_"):  # a class by value
            name = str(args[1])
        if kwargs is None:
            return self._noted(StandIn(named, args, name, reason))
        create = operator.methodcaller("__new__", named, *args, **kwargs)
        return self._noted(StandIn(create, (named,), name, reason))

    def _call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        if type(function) is StandIn:
            return self._for_call(function, args, kwargs, function.reason)
        try:
            if kwargs is None:
                made = function(*args)
            else:
                made = function.__new__(function, *args, **kwargs)
        except BaseException as err:
            return self._for_call(function, args, kwargs, self._reason(err, args))
        if type(made) is not StandIn:
            self._calls[id(made)] = (made, function, args, kwargs)
        return made

    def _replaced(self, value: Any, err: BaseException, state: Any) -> StandIn:
        """Put a stand-in into the place of a value that was made, but cannot be filled."""
        as_it_is = (value, operator.itemgetter(0), ((value,),), None)
        _, function, args, kwargs = self._calls.get(id(value), as_it_is)
        stand_in = self._for_call(function, args, kwargs, self._reason(err, state))
        memo: dict[int, Any] = self.memo
        for key in reversed(memo):
            if memo[key] is value:
                memo[key] = stand_in
                break
        return stand_in

    def _load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args, None)

    def _load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args, {})

    def _load_newobj_ex(self) -> None:
        kwargs = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args, kwargs)

    def _load_build(self) -> None:
        state = self.stack[-1]
        value = self.stack[-2]
        try:
            super().load_build()
        except BaseException as err:
            stand_in = self._replaced(value, err, state)
            stand_in.__setstate__(state)
            self.stack[-1] = stand_in

    def _load_appends(self) -> None:
        items = self.pop_mark()
        value = self.stack[-1]
        try:
            value.extend(items)
        except BaseException as err:
            self.stack[-1] = self._replaced(value, err, items)
            self.stack[-1].extend(items)

    def _load_append(self) -> None:
        item = self.stack.pop()
        value = self.stack[-1]
        try:
            value.append(item)
        except BaseException as err:
            self.stack[-1] = self._replaced(value, err, item)
            self.stack[-1].append(item)

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        self._set_pairs(list(zip(items[::2], items[1::2], strict=True)))

    def _load_setitem(self) -> None:
        item = self.stack.pop()
        self._set_pairs([(self.stack.pop(), item)])

    def _set_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        value = self.stack[-1]
        try:
            for key, item in pairs:
                value[key] = item
        except BaseException as err:
            self.stack[-1] = self._replaced(value, err, pairs)
            for key, item in pairs:
                self.stack[-1][key] = item

    def _load_additems(self) -> None:
        items = self.pop_mark()
        value = self.stack[-1]
        try:
            value.update(items)
        except BaseException as err:
            self.stack[-1] = self._of_items(type(value), [*value, *items], err)

    def _load_frozenset(self) -> None:
        items = self.pop_mark()
        try:
            self.append(frozenset(items))
        except BaseException as err:
            self.append(self._of_items(frozenset, items, err))

    def _of_items(self, kind: type, items: list[Any], err: BaseException) -> StandIn:
        return self._for_call(kind, (items,), None, self._reason(err, items))

    dispatch: ClassVar[dict[int, Any]] = {
        **_PythonUnpickler.dispatch,
        pickle.REDUCE[0]: _load_reduce,
        pickle.NEWOBJ[0]: _load_newobj,
        pickle.NEWOBJ_EX[0]: _load_newobj_ex,
        pickle.BUILD[0]: _load_build,
        pickle.APPENDS[0]: _load_appends,
        pickle.APPEND[0]: _load_append,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.SETITEM[0]: _load_setitem,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
    }


def _flat(values: Any) -> Any:
    """Yield values, and those in tuples, lists and dicts among them."""
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, tuple | list):
        values = (values,)
    for value in values:
        if isinstance(value, tuple | list | dict):
            yield from _flat(value)
        else:
            yield value
