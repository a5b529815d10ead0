#!/bin/sh
# The whole way on this machine: prepare, run, extend, run, evaluate. On a cluster,
# `psweep-push cluster --submit` and `psweep-pull cluster` take the place of run_local.sh.
#
# Copy this folder to some place of its own first: what the study is before and after each
# preparation is committed with git.
set -eux

./clean.sh

# Else git would have all that the jobs write, too.
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
