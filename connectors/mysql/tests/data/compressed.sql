-- Enough in one transaction that the server compresses it.
CREATE TABLE squeezed (id INT PRIMARY KEY, v VARCHAR(200));
BEGIN;
INSERT INTO squeezed VALUES (1, REPEAT('a', 200)), (2, REPEAT('b', 200)), (3, REPEAT('c', 200));
UPDATE squeezed SET v = REPEAT('d', 200) WHERE id < 3;
DELETE FROM squeezed WHERE id = 3;
COMMIT;
INSERT INTO squeezed VALUES (4, REPEAT('e', 200)), (5, REPEAT('f', 200));
