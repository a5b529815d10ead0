"""Save data on disk: each pset writes into its own folder, whose name is its _pset_id.

You will see the shell command of each pset, and its output in calc/<_pset_id>/output.txt. Then
start 20eval.py, which reads these files.
"""

import subprocess
from pathlib import Path

import psweep_dask as ps


def func(pset):
    folder = Path(pset["_calc_dir"], pset["_pset_id"])
    a = pset["a"]
    cmd = f"mkdir -p {folder} && echo {a} {a * 2} {a * 4} > {folder}/output.txt"
    # check=True: if the command fails, the row has this failure in _status and _exc_txt.
    subprocess.run(cmd, shell=True, check=True)
    return {"cmd": cmd}


params = ps.plist("a", [1, 2, 3, 4])
df = ps.run_local(func, params)
ps.df_print(df[["a", "_status", "cmd"]])
