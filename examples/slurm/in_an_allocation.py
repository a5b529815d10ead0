"""Run in a SLURM allocation: workers start in all of it, without any option.

    salloc -n4 python in_an_allocation.py
    sbatch -n4 --wrap "python in_an_allocation.py"

You will see one worker for each task, on the nodes of the allocation. After the run, the allocation
can be used again. Outside of SLURM, the same script uses the cores of this machine.
"""

from model import darts, throw_darts

import psweep_dask as ps

df = ps.run(throw_darts, darts([1_000_000], 40), calc_dir="calc/allocation")

error = df.pi.std() / len(df) ** 0.5
print(f"pi = {df.pi.mean():.5f} +- {error:.5f} from {df.darts.sum():,} darts")
print(f"nodes: {', '.join(sorted(df.node.unique()))}")
