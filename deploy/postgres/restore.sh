#!/bin/sh
# restore.sh BACKUP TIME DATA: makes the cluster DATA of a backup, as it is to be restored at its next
# start: with all that was committed by TIME, or by the end of the archive if TIME is `latest`.
# TIME is like 2026-03-01T12:00:00Z. The start ends when the cluster can be written to, and fails when
# the archive does not reach TIME. README.md says what comes before and after.
set -eu
if [ $# -ne 3 ]; then
    echo "usage: restore.sh BACKUP TIME DATA" >&2
    exit 2
fi
backup=$1 time=$2 data=$3
if [ ! -f "$backup/backup_manifest" ]; then
    echo "restore.sh: $backup is not a backup that backup.sh has made" >&2
    exit 2
fi
case $time in
latest | [0-9]*-*-*T*:*:*Z) ;;
*)
    echo "restore.sh: TIME is '$time'; it takes latest, or a time like 2026-03-01T12:00:00Z" >&2
    exit 2
    ;;
esac
if [ -e "$data" ]; then
    echo "restore.sh: $data is there; move it away, nothing is overwritten" >&2
    exit 2
fi
pg_verifybackup --quiet "$backup"
cp -a "$backup" "$data"
chmod 700 "$data"
if [ "$time" != latest ]; then
    echo "recovery_target_time = '${time%Z}+00'" >> "$data/postgresql.auto.conf"
fi
echo "recovery_target_action = 'promote'" >> "$data/postgresql.auto.conf"
: > "$data/recovery.signal"
