-- Whether there are events without a number, and whether there are some whose step is not known.
SELECT EXISTS (SELECT FROM events WHERE sequence IS NULL) AS to_order,
       EXISTS (SELECT FROM events WHERE version IS NULL)  AS to_place
