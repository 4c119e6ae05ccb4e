-- A session that logs only what it must.
CREATE TABLE narrow (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO narrow VALUES (1, 1, 1);
SET SESSION binlog_row_image = 'MINIMAL';
UPDATE narrow SET v = 2;
SET SESSION binlog_row_image = 'FULL';
TRUNCATE TABLE narrow;
