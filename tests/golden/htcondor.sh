#!/usr/bin/env condor_submit

MY.DaskWorkerName = "htcondor--$F(MY.JobId)--"
batch_name = 12345678-0
RequestCpus = MY.DaskWorkerCores
RequestMemory = floor(MY.DaskWorkerMemory / 1048576)
RequestDisk = floor(MY.DaskWorkerDisk / 1024)
MY.JobId = "$(ClusterId).$(ProcId)"
MY.DaskWorkerCores = 4
MY.DaskWorkerMemory = 8589934592
MY.DaskWorkerDisk = 1073741824
+Group = "physics"

Arguments = "-c 'export OMP_NUM_THREADS=2; export MKL_NUM_THREADS=2; export OPENBLAS_NUM_THREADS=2; export LANG=''C''; PYTHON -m distributed.cli.dask_worker tls://DRIVER:PORT --name 12345678-0 --nthreads 2 --memory-limit 4.00GiB --nworkers 2 --nanny --death-timeout 60 --nthreads 1 --no-dashboard --dashboard-address 127.0.0.1:0 --memory-limit 4080218931'"
Executable = /bin/sh

Queue
