-- Makes the two roles and the database, or gives the roles other passwords. As superuser:
--     psql --no-psqlrc --file roles.sql postgres
-- with the passwords in ROLE_PASSWORD and BACKUP_ROLE_PASSWORD.

\set ON_ERROR_STOP on
\set role_password ''
\set backup_role_password ''
\getenv role_password ROLE_PASSWORD
\getenv backup_role_password BACKUP_ROLE_PASSWORD
-- The server logs no statement below that has a password in it.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';

SELECT :'role_password' = '' AS role_password_is_missing,
       :'backup_role_password' = '' AS backup_role_password_is_missing \gset
\if :role_password_is_missing
    DO $$ BEGIN RAISE 'roles.sql: ROLE_PASSWORD is not set'; END $$;
\endif
\if :backup_role_password_is_missing
    DO $$ BEGIN RAISE 'roles.sql: BACKUP_ROLE_PASSWORD is not set'; END $$;
\endif

-- The service and `quota-service migrate`: owner of its database, and nothing else.
SELECT 'CREATE ROLE quota' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quota') \gexec
ALTER ROLE quota LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'role_password';
SELECT 'CREATE DATABASE quota OWNER quota'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'quota') \gexec
REVOKE ALL ON DATABASE quota FROM PUBLIC;

-- The backup: reads the files of the cluster, and no table.
SELECT 'CREATE ROLE quota_backup'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quota_backup') \gexec
ALTER ROLE quota_backup LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS
    PASSWORD :'backup_role_password';
