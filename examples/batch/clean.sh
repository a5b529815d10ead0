#!/bin/sh
# Remove all that run_example.sh leaves behind, but for the history in .git.
set -eu
cd "$(dirname "$0")"
rm -rf calc calc.bak_* calc.simulate .gitignore
