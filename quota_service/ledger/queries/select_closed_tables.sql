-- The tables of the service that the role of this connection may not both read and write.
SELECT c.relname AS name, current_user AS role
FROM   pg_class c
WHERE  c.relnamespace = current_schema()::regnamespace
AND    c.relkind = 'r'
AND    c.relname <> 'schema_migrations'
AND    NOT (has_table_privilege(c.oid, 'SELECT')
            AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE')
            AND has_table_privilege(c.oid, 'DELETE'))
ORDER  BY c.relname
