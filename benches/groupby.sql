-- GROUP BY over an in-process source: the cost of keyed state.

CREATE TABLE numbers (
  k BIGINT,
  v BIGINT
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '${var:events}',
  'rows-per-second' = '1000000000',
  'fields.k.min' = '0',
  'fields.k.max' = '${var:last_key}',
  'fields.v.min' = '0',
  'fields.v.max' = '1000000'
);

CREATE TABLE totals (
  k BIGINT,
  n BIGINT,
  total BIGINT
) WITH ('connector' = 'blackhole');

INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM numbers GROUP BY k;
