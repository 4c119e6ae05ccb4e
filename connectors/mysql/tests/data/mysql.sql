-- What only MySQL has.
CREATE TABLE documents (id INT PRIMARY KEY, j JSON);
INSERT INTO documents VALUES
 (1, '{}'), (2, '[]'), (3, 'null'), (4, '"text"'), (5, '{"b": [1, -2, 3.5, true, false, null], "a": {"x": "y"}, "longer key": "ü😀"}'),
 (6, '[32767, 32768, -32769, 65535, 65536, 2147483648, 4294967296, -9223372036854775808, 18446744073709551615]'),
 (7, '[0.0, -0.0, 1.0, 1e14, 1e15, 1e16, 123456789012345678, 1.5e-7, 0.0001, 1e-15, 1e-16, 1.7976931348623157e308, 5e-324, 100000.5, 12345678.9, 0.1]'),
 (8, '["quote \\" back \\\\ tab \\t nl \\n cr \\r bs \\b ff \\f ctl \\u0001 del \\u007f slash /"]'),
 (9, JSON_ARRAY(CAST(12.50 AS DECIMAL(10,2)), CAST(-0.001 AS DECIMAL(20,10)), CAST('2026-11-25' AS DATE), CAST('12:34:56.789' AS TIME(3)), CAST('-01:02:03' AS TIME), CAST('2026-11-25 12:34:56.789012' AS DATETIME(6)), CAST('2026-11-25 00:00:00' AS DATETIME))),
 (10, JSON_ARRAY(CAST(x'00ff10' AS BINARY), x'', b'101')),
 (11, JSON_OBJECT('big', REPEAT('x', 70000), 'n', 2147483647, 'u', 4294967295)),
 (12, NULL), (13, '[[[[[[1]]]]]]'), (14, CONCAT('["', REPEAT('y', 127), '","', REPEAT('z', 128), '"]'));
UPDATE documents SET j = JSON_SET(j, '$.a.x', 'changed') WHERE id = 5;
