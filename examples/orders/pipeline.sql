-- Revenue per country, kept up to date from the change log of an `orders` table.
--
-- data/orders.json is what Debezium writes for a MySQL table: one JSON object per change, with the row before and after
-- it. Orders are created, paid, shipped, cancelled and deleted; the totals follow.

SET 'pipeline.name' = 'orders';
SET 'parallelism.default' = '1';

CREATE TABLE orders (
  order_id BIGINT,
  customer STRING,
  country STRING,
  status STRING,
  amount DECIMAL(10, 2),
  ordered_at TIMESTAMP(0),
  PRIMARY KEY (order_id) NOT ENFORCED
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/orders.json',
  'format' = 'debezium-json'
);

CREATE VIEW revenue AS
SELECT
  country,
  COUNT(*) AS orders,
  SUM(amount) AS revenue,
  MAX(amount) AS largest
FROM orders
WHERE status <> 'cancelled' AND status <> 'returned'
GROUP BY country;

-- A change log again: what Debezium would write if the totals were a table.
CREATE TABLE revenue_log (
  country STRING,
  orders BIGINT,
  revenue DECIMAL(38, 2),
  largest DECIMAL(10, 2)
) WITH (
  'connector' = 'filesystem',
  'path' = 'out/revenue',
  'format' = 'debezium-json'
);

CREATE TABLE revenue_shown (
  country STRING,
  orders BIGINT,
  revenue DECIMAL(38, 2),
  largest DECIMAL(10, 2)
) WITH (
  'connector' = 'print'
);

EXECUTE STATEMENT SET BEGIN
INSERT INTO revenue_log SELECT * FROM revenue;
INSERT INTO revenue_shown SELECT * FROM revenue;
END;
