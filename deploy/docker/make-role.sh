#!/bin/sh
# Makes the role and the database of the service, once, when Postgres makes its cluster: the role owns
# its database and is nothing else. Postgres's image runs this with psql connected as the superuser.
set -eu

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat /run/secrets/postgres_quota_password`
CREATE ROLE quota LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE quota OWNER quota;
REVOKE CONNECT ON DATABASE quota FROM PUBLIC;
SQL
