-- Whether candidates are in the draw of an exam.
-- $1 exam, text
SELECT EXISTS (SELECT 1 FROM draw_entries WHERE exam = $1) AS found
