#!/bin/sh
# Stops the brokers of start.sh, by their pid files.
#
#   deploy/kafka/stop.sh [--delete]     --delete: their data too
#
#   FACEMILL_KAFKA_DATA   as for start.sh (deploy/kafka/run)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
data=${FACEMILL_KAFKA_DATA:-$here/run}

say() { echo "kafka: $*" >&2; }

delete=
case "${1:-}" in
    '') ;;
    --delete) delete=yes ;;
    *) say "unknown argument $1 (usage: stop.sh [--delete])"; exit 1 ;;
esac

# A pid may have been given to another process since: only a broker of this data folder is ended.
is_broker() { tr '\0' '\n' < "/proc/$1/cmdline" 2>/dev/null | grep -qxF "$2"; }

pids=
for file in "$data"/broker-*.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    if is_broker "$pid" "${file%.pid}.properties"; then
        kill -TERM "$pid"
        pids="$pids $pid"
    fi
done

# Without its quorum a controller waits long for its shutdown: after ten seconds there is nothing worth waiting for.
tenths=0
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$tenths" -ge 100 ]; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
        tenths=$((tenths + 1))
        sleep 0.1
    done
done
rm -f "$data"/broker-*.pid
if [ -n "$pids" ]; then say "stopped"; else say "not running"; fi

if [ -n "$delete" ] && [ -f "$data/brokers" ]; then
    rm -rf "$data"/broker-* "$data"/format-*.log "$data/brokers"
    rmdir "$data" 2>/dev/null || true
    say "deleted the brokers' data in $data"
fi
