#!/usr/bin/env bash

#$ -N psweep-12345678
#$ -q long
#$ -P physics
#$ -l h_vmem=8G
#$ -l h_rt=02:00:00
#$ -cwd
#$ -j y
export OMP_NUM_THREADS=2
export MKL_NUM_THREADS=2
export OPENBLAS_NUM_THREADS=2
PYTHON -m distributed.cli.dask_worker tls://DRIVER:PORT --name 12345678-0 --nthreads 2 --memory-limit 4.00GiB --nworkers 2 --nanny --death-timeout 60 --nthreads 1 --no-dashboard --dashboard-address 127.0.0.1:0 --memory-limit 4080218931
