-- Leases: work that one process does for all, and which process that is.

CREATE TABLE leases (
    name   text CONSTRAINT leases_pk PRIMARY KEY,
    holder text NOT NULL,
    until  timestamptz NOT NULL
);
