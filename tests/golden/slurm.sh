#!/bin/bash -l

#SBATCH -p long
#SBATCH -A physics
#SBATCH -n 1
#SBATCH --cpus-per-task=16
#SBATCH --mem=20G
#SBATCH -t 1-12:00:00
#SBATCH --no-requeue
#SBATCH --output=LOG_DIR/%j.log
#SBATCH --gres=gpu:4
#SBATCH --constraint="a100&ib"
export OMP_NUM_THREADS=2
export MKL_NUM_THREADS=2
export OPENBLAS_NUM_THREADS=2
module load cuda
source 'my env/bin/activate'
PYTHON -m distributed.cli.dask_worker tls://DRIVER:PORT --name 12345678-0 --nthreads 2 --memory-limit 3.73GiB --nworkers 4 --nanny --death-timeout 5m --local-directory /scratch/$USER --nthreads 1 --no-dashboard --dashboard-address 127.0.0.1:0 --memory-limit 3800000000 --resources GPU=1 --interface ib0
