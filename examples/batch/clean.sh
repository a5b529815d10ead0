#!/bin/sh
# Remove all files that run_example.sh has made, except the history in .git.
set -eu
cd "$(dirname "$0")"
rm -rf calc calc.bak_* calc.simulate .gitignore
