"""What pickles name and hold, without loading them."""

from __future__ import annotations

import io
import pickletools

from psweep_dask.storage.record import MAGIC, read_frames

TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")


def modules_named(data):
    """The modules of all classes and functions in pickles, also of those in bytes within them."""
    return {module for pickled in pickles_in(data) for module in _modules_of(pickled)}


def pickles_in(data):
    """Yield a pickle, or the payloads of frames; then all those in bytes within them."""
    data, _, _ = data.partition(b"\npsweep_dask database ")  # versions, behind the pickle
    if data.startswith(MAGIC):
        for payload in read_frames(io.BytesIO(data)):
            yield from pickles_in(payload)
    elif data.startswith(b"\x80") and data.endswith(b"."):
        yield data
        for opcode, value, _ in pickletools.genops(data):
            if isinstance(value, bytes) and "BYTES" in opcode.name:
                yield from pickles_in(value)


def _modules_of(pickled):
    memo = {}
    texts = []  # what was pushed last, as far as it is text
    for opcode, value, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            yield value.split()[0]
        elif opcode.name == "STACK_GLOBAL":
            yield texts[-2]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1]
        elif opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[value] = texts[-1]
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo[value])
        else:
            texts.append(value if opcode.name in TEXTS else None)
