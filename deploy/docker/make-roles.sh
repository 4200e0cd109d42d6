#!/bin/sh
# Makes the roles and the database of the service, once, when Postgres makes its cluster; Postgres's image
# runs this.
set -eu

ROLE_PASSWORD=$(cat /run/secrets/postgres_quota_password)
BACKUP_ROLE_PASSWORD=$(cat /run/secrets/postgres_backup_password)
export ROLE_PASSWORD BACKUP_ROLE_PASSWORD
psql --no-psqlrc --quiet --username="$POSTGRES_USER" --file=/etc/quota-service/postgres/roles.sql postgres
