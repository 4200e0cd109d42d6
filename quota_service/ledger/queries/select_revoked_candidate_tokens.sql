-- What was revoked in transactions that an earlier look did not see, and from where the next one
-- looks; one row with nothing in it where nothing was.
-- $1 where the earlier look ended, text; 0 for everything
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS next, r.exam, r.candidate, r.token,
       r.revoked_at, r.until
FROM   (VALUES (1)) AS look (one)
LEFT   JOIN revoked_candidate_tokens r ON r.written_in >= $1::text::xid8 AND r.until > now()
