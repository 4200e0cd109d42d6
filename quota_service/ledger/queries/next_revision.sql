-- A revision that no definition of any exam has had.
SELECT nextval('exam_revisions') AS revision
