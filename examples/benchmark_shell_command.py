"""Benchmark shell commands: time them over parameters, several times each.

You will see a table of means over the repetitions: how long each command takes for input of each
size, and how much it shrinks it. Only one worker runs, so that our commands do not disturb each
other.
"""

import random
import shlex
import subprocess
import time

import psweep_dask as ps


def text(size_mb):
    """Make up text that is always the same, so that all commands get equal input."""
    rng = random.Random(123)
    lengths = [rng.randint(2, 9) for _ in range(500)]
    words = ["".join(rng.choices("etaoinshrdlu", k=length)) for length in lengths]
    tokens = [word + rng.choice("     \n") for word in words]  # a line has six words or so
    weights = [1 / rank for rank in range(1, 501)]  # as in natural language
    return "".join(rng.choices(tokens, weights, k=size_mb * 250_000)).encode()[: size_mb * 10**6]


def func(pset):
    data = text(pset["size_mb"])
    start = time.perf_counter()  # not _pset_runtime: that has the making of the text in it, too
    done = subprocess.run(shlex.split(pset["cmd"]), input=data, capture_output=True, check=True)
    return {"seconds": time.perf_counter() - start, "ratio": len(done.stdout) / len(data)}


if __name__ == "__main__":
    cmd = ps.plist("cmd", ["gzip -1", "gzip -4", "gzip -6", "gzip -9", "sort"])
    size = ps.plist("size_mb", [1, 2])
    repeat = ps.plist("repeat", range(3))
    # The repetitions are the outermost loop: a disturbance hits all commands alike.
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
