#!/bin/sh
# move-exam.sh EXAM FROM TO OTHER ...: moves an exam of a Cluster to another primary, with the slot of all its keys.
# FROM has it, TO gets it, and the other primaries are told: each is HOST:PORT. OPS_PASSWORD is that of the user ops.
# While keys are on two servers the exam is answered 503. After an error run it again: what has moved stays moved.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: move-exam.sh EXAM FROM TO OTHER ..." >&2
    exit 2
fi
if [ -z "${OPS_PASSWORD:-}" ]; then
    echo "move-exam.sh: OPS_PASSWORD is not set" >&2
    exit 2
fi
export REDISCLI_AUTH="$OPS_PASSWORD"
exam=$1 from=$2 to=$3
shift 3

at() {
    node=$1
    shift
    redis-cli -e --user ops -h "${node%:*}" -p "${node##*:}" "$@"
}

slot=$(at "$from" CLUSTER KEYSLOT "{$exam:0}")
old=$(at "$from" CLUSTER MYID)
new=$(at "$to" CLUSTER MYID)
at "$to" CLUSTER SETSLOT "$slot" IMPORTING "$old"
at "$from" CLUSTER SETSLOT "$slot" MIGRATING "$new"
keys=$(at "$from" CLUSTER GETKEYSINSLOT "$slot" 100)
while [ -n "$keys" ]; do
    # shellcheck disable=SC2086  # a word for each key
    printf %s "$OPS_PASSWORD" |
        at "$from" -X password MIGRATE "${to%:*}" "${to##*:}" '' 0 5000 AUTH2 ops password KEYS $keys
    keys=$(at "$from" CLUSTER GETKEYSINSLOT "$slot" 100)
done
for node in "$to" "$from" "$@"; do
    at "$node" CLUSTER SETSLOT "$slot" NODE "$new"
done
