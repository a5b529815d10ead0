#!/bin/sh
# All steps on this machine: prepare, run, extend, run, evaluate. On a cluster, use
# `psweep-push cluster --submit` and `psweep-pull cluster` instead of run_local.sh.
#
# First copy this folder outside of the clone: the study is committed with git before and after
# each preparation.
set -eux

./clean.sh

# Without this, git would also commit the files that the jobs write.
cat >.gitignore <<EOF
calc/*/out.npy
calc/database_eval.pk
*.lock
EOF

python3 10input.py
sh calc/run_local.sh

python3 20input.py
sh calc/run_local.sh

python3 30eval.py
psweep-db2table calc/database_eval.pk param_a param_b mean _run_seq _pset_seq

git log --oneline
