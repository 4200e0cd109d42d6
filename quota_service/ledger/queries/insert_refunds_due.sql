-- Money that has to go back; of 0 nothing does.
-- $1 events, text[]; the rest by position
-- $2 reservations, text[]
-- $3 reasons, text[]
-- $4 amounts in minor units, bigint[]
-- $5 currencies, text[]
INSERT INTO refunds_due (event, exam, reservation, reason, amount, currency)
SELECT due.event, e.id, due.reservation, due.reason, due.amount, due.currency
FROM   unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
       AS due (event, reservation, reason, amount, currency)
LEFT   JOIN exams e ON e.id = split_part(due.reservation, '.', 1)
WHERE  due.amount > 0
ORDER  BY due.event
