#!/usr/bin/env bash

#SBATCH -J psweep-12345678
#SBATCH -n 1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH -t 00:30:00
#SBATCH --no-requeue
#SBATCH --output=LOG_DIR/%j.log

PYTHON -m distributed.cli.dask_worker tls://DRIVER:PORT --name 12345678-0 --nthreads 1 --memory-limit 2.00GiB --nworkers 2 --nanny --death-timeout 60 --no-dashboard --dashboard-address 127.0.0.1:0 --memory-limit 2013265920
