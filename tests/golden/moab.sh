#!/usr/bin/env bash

#PBS -N psweep-12345678
#PBS -q long
#PBS -A physics
#PBS -l select=1:ncpus=4:mem=8192MB
#PBS -l walltime=02:00:00
export OMP_NUM_THREADS=2
export MKL_NUM_THREADS=2
export OPENBLAS_NUM_THREADS=2
PYTHON -m distributed.cli.dask_worker tls://DRIVER:PORT --name 12345678-0 --nthreads 2 --memory-limit 4.00GiB --nworkers 2 --nanny --death-timeout 60 --nthreads 1 --no-dashboard --dashboard-address 127.0.0.1:0 --memory-limit 4080218931
