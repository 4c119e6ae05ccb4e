-- Rows for examples/decode_speed.rs: ten columns, about 100 bytes.
CREATE TABLE speed (id BIGINT PRIMARY KEY, a INT NOT NULL, b BIGINT UNSIGNED, price DECIMAL(12,2), name VARCHAR(64), addr VARCHAR(128), ts DATETIME(3),
  flag TINYINT, d DOUBLE, e ENUM('x','y','z')) CHARACTER SET utf8mb4;
INSERT INTO speed
  WITH RECURSIVE n (j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM n WHERE j < 1999)
  SELECT j, j * 31 % 100000, j * 7, j + j % 100 / 100, CONCAT('name_', LPAD(j, 8, '0'), '_xx'), CONCAT('some street number ', LPAD(j, 6, '0'), ', city'),
    CONCAT('2024-05-0', j % 9 + 1, ' 12:13:', LPAD(j % 60, 2, '0'), '.', LPAD(j % 1000, 3, '0')), j % 100, j + 0.5, j % 3 + 1 FROM n;
