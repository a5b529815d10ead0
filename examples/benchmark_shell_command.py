"""Benchmark shell commands: measure their time over parameters, several times each.

You will see a table of means over the repeats: the time of each command for each input size, and
the ratio of output size to input size. There is only one worker, so that two commands never run at
the same time.
"""

import random
import shlex
import subprocess
import time

import psweep_dask as ps


def text(size_mb):
    """Return random text that is always the same, so that all commands get equal input."""
    rng = random.Random(123)
    lengths = [rng.randint(2, 9) for _ in range(500)]
    words = ["".join(rng.choices("etaoinshrdlu", k=length)) for length in lengths]
    tokens = [word + rng.choice("     \n") for word in words]  # about six words per line
    weights = [1 / rank for rank in range(1, 501)]  # as in natural language
    return "".join(rng.choices(tokens, weights, k=size_mb * 250_000)).encode()[: size_mb * 10**6]


def func(pset):
    data = text(pset["size_mb"])
    start = time.perf_counter()  # _pset_runtime would include making the text
    done = subprocess.run(shlex.split(pset["cmd"]), input=data, capture_output=True, check=True)
    return {"seconds": time.perf_counter() - start, "ratio": len(done.stdout) / len(data)}


cmd = ps.plist("cmd", ["gzip -1", "gzip -4", "gzip -6", "gzip -9", "sort"])
size = ps.plist("size_mb", [1, 2])
repeat = ps.plist("repeat", range(3))
# Repeats are the outermost loop, so that other load on the machine affects all commands alike.
df = ps.run_local(func, ps.pgrid(repeat, cmd, size), poolsize=1)

good = df[df._status == "ok"]
table = good.groupby(["cmd", "size_mb"], as_index=False).agg(
    runs=("seconds", "size"),
    mean=("seconds", "mean"),
    std=("seconds", "std"),
    best=("seconds", "min"),
    ratio=("ratio", "mean"),
)
table["mb_per_s"] = table.size_mb / table["mean"]
ps.df_print(table.round(3))
