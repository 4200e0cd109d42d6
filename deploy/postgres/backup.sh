#!/bin/sh
# backup.sh DIRECTORY: makes a backup of the whole cluster in DIRECTORY/<time>, and checks it.
# BACKUP_DSN is how quota_backup connects, for example
#     postgresql://quota_backup:…@postgres.internal:5432/
# A backup that is not whole has no name: it is DIRECTORY/<time>.part, and the next run leaves it alone.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: backup.sh DIRECTORY" >&2
    exit 2
fi
if [ -z "${BACKUP_DSN:-}" ]; then
    echo "backup.sh: BACKUP_DSN is not set" >&2
    exit 2
fi
backup=$1/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$1"
pg_basebackup --dbname "$BACKUP_DSN" --pgdata "$backup.part" --checkpoint=fast --wal-method=stream
pg_verifybackup --quiet "$backup.part"
mv "$backup.part" "$backup"
echo "$backup"
