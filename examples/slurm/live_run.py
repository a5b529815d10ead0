"""Run on a cluster from its login node: jobs are submitted, run psets, and end with the run.

You will see that all psets ran on the nodes of the cluster, and that the standard deviation of pi
falls as 1 / sqrt(darts). The jobs are described in templates/machines/lab/info.yaml.
"""

from model import darts, throw_darts

import psweep_dask as ps

df = ps.run(
    throw_darts, darts([10_000, 100_000, 1_000_000], 40), cluster="lab", calc_dir="calc/live"
)

means = df.groupby("darts", as_index=False).pi.agg(["mean", "std"])
means["std * sqrt(darts)"] = means["std"] * means.darts**0.5
ps.df_print(means)
print("\nnodes:", ", ".join(sorted(df.node.unique())))
