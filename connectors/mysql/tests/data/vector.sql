-- MySQL 9: vectors, and a transaction id with a tag.
CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3));
INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1,2.5,-3]')), (2, NULL);
SET gtid_next = 'AUTOMATIC:nightly';
INSERT INTO vectors VALUES (3, STRING_TO_VECTOR('[0,0,0]'));
SET gtid_next = 'AUTOMATIC';
-- The index is a hidden column of a type of its own.
CREATE TABLE multi (id INT PRIMARY KEY, j JSON, INDEX k ((CAST(j->'$.tags' AS UNSIGNED ARRAY))));
INSERT INTO multi VALUES (1, '{"tags": [1, 2, 3]}'), (2, '{"tags": []}'), (3, NULL);
