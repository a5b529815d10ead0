"""A scheduler in this process, and workers that have the names and resources of a test."""

from __future__ import annotations

import dask.config
from distributed import Client, LocalCluster, Worker

from psweep_dask.clusters.config import cluster_settings


class InProcessWorkers:
    """Workers in this process, of a cluster whose scheduler is in this process as well."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.scheduler = cluster.scheduler
        self.workers = {}

    def close(self):
        for address in list(self.workers):
            self.stop(address)

    def start(self, name, nthreads=1, resources=None):
        """Start a worker, and return its address."""

        async def start():
            return await Worker(
                self.cluster.scheduler_address,
                name=name,
                nthreads=nthreads,
                resources=resources,
                security=self.cluster.security,
                dashboard=False,
                memory_limit=0,
            )

        worker = self.cluster.sync(start)
        self.workers[worker.address] = worker
        return worker.address

    def stop(self, address):
        """End a worker, or wait until it has ended. What it runs must come to an end."""
        self.cluster.sync(self.workers.pop(address).close)

    def lose(self, address):
        """Have the scheduler believe that a worker is lost."""

        async def lose():
            await self.scheduler.remove_worker(address, stimulus_id="test")

        self.cluster.sync(lose)


class InProcess(InProcessWorkers):
    """A cluster with our settings, without workers at first; and a client of it."""

    def __init__(self):
        """Start it by a with statement only."""

    def __enter__(self):
        with dask.config.set(cluster_settings()):
            cluster = LocalCluster(n_workers=0, processes=False, dashboard_address=":0")
        super().__init__(cluster)
        self.client = Client(cluster, set_as_default=False)
        return self

    def __exit__(self, *_):
        self.close()
        self.client.close()
        self.cluster.close()
