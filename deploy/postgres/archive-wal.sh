#!/bin/sh
# archive-wal.sh SEGMENT COPY: copies a finished segment of the log, for Postgres's archive_command.
# The copy has its name once it is on disk. One that is there already must be the same: after a crash
# Postgres asks for the last segment again. Postgres repeats what fails, and keeps the segment.
set -eu
segment=$1 copy=$2
if [ -e "$copy" ]; then
    cmp "$segment" "$copy" >&2 && exit 0
    echo "archive-wal.sh: $copy is there and differs; another cluster archives to its directory" >&2
    exit 1
fi
cp "$segment" "$copy.part"
sync "$copy.part"
mv "$copy.part" "$copy"
sync "$(dirname "$copy")"
