#!/bin/sh
# Remove all that run_example.sh leaves behind.
set -eu
cd "$(dirname "$0")"
rm -rf calc calc.bak_* calc.simulate .gitignore
