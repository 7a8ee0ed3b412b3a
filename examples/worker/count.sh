#!/bin/bash
# A worker: it serves nobody, so it has no port and no route. It counts the
# primes below a growing bound and says how far it got.
trap 'echo "worker: asked to stop at $bound"; exit 0' TERM

bound=1000
while true; do
    primes=$(seq 2 "$bound" | factor | awk 'NF == 2' | wc -l)
    echo "worker: $primes primes below $bound"
    bound=$((bound + 1000))
    sleep "${PAUSE:-2}" &
    wait $! # a trap can't interrupt a foreground sleep
done
