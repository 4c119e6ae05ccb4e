-- Shapes; the expected text is in the test, no server writes it.
CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, t VARCHAR(10) CHARACTER SET latin1, u VARCHAR(10) CHARACTER SET utf8mb4);
INSERT INTO shapes (id, g) VALUES (1, ST_GeomFromText('POINT(1 2.5)')), (2, ST_GeomFromText('LINESTRING(0 0,1 1)')), (3, ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')),
 (4, ST_GeomFromText('MULTIPOINT(1 1,2 2)')), (5, ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))')), (6, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')),
 (7, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(10 10),LINESTRING(15 15,20 20))')), (8, NULL);
INSERT INTO shapes VALUES (9, NULL, 'é', 'é');
