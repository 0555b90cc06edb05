#!/usr/bin/env bash
# submit.sh RULE CPUS MEMORY_MB GPUS SCRIPT: create the Job of one notebook, print its name.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
rule=$1 cpu=$2 memory=$3 gpu=$4 script=$5

environment=""
for name in SRLIB_HOME SRLIB_DATA SRLIB_CACHE SRLIB_RUNS SRLIB_FIGURES; do
    if [ -n "${!name:-}" ]; then environment+="{name: $name, value: \"${!name}\"}, "; fi
done
sed -e "s|@RULE@|$rule|; s|@RUN@|${SRLIB_RUN:-none}|; s|@CPU@|$cpu|; s|@MEMORY@|$memory|g; s|@GPU@|$gpu|" \
    -e "s|@SCRIPT@|$script|; s|@ENVIRONMENT@|${environment%, }|" "$here/job.yaml" |
    kubectl create -f - -o "jsonpath={.metadata.name}"
