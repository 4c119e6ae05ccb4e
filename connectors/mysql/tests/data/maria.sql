-- What only MariaDB has.
CREATE TABLE packed (id INT PRIMARY KEY, v VARCHAR(2000) COMPRESSED, t TEXT COMPRESSED, b BLOB COMPRESSED);
INSERT INTO packed VALUES (1, 'short', 'short', 'short'), (2, REPEAT('long ', 300), REPEAT('ü', 500), REPEAT('z', 600)), (3, '', '', NULL);
