#!/usr/bin/env bash
# status.sh JOB: print running, success or failed, as Snakemake wants it. A Job that is gone has failed.
set -euo pipefail
if ! found=$(kubectl get job "$1" --ignore-not-found -o "jsonpath={.metadata.name} {.status.succeeded} {.status.failed}."); then
    echo running # the cluster does not answer: asked again later
    exit 0
fi
case $found in
    "") echo failed ;;
    *" 1 "*) echo success ;;
    *" ".) echo running ;;
    *) echo failed ;;
esac
