-- What a checkpoint costs: a state of many keys, of which a few change between two checkpoints.

CREATE TABLE every_key (
  k BIGINT,
  v BIGINT
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '${var:keys}',
  'rows-per-second' = '1000000000',
  'fields.k.kind' = 'sequence',
  'fields.k.start' = '0',
  'fields.k.end' = '1000000000000',
  'fields.v.min' = '0',
  'fields.v.max' = '1000000'
);

CREATE TABLE few_keys (
  k BIGINT,
  v BIGINT
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '${var:updates}',
  'rows-per-second' = '1000000000',
  'fields.k.min' = '0',
  'fields.k.max' = '${var:last_hot_key}',
  'fields.v.min' = '0',
  'fields.v.max' = '1000000'
);

CREATE TABLE totals (
  k BIGINT,
  n BIGINT,
  total BIGINT,
  mean DOUBLE,
  least BIGINT,
  greatest BIGINT
) WITH ('connector' = 'blackhole');

INSERT INTO totals
SELECT k, COUNT(*), SUM(v), AVG(CAST(v AS DOUBLE)), MIN(v), MAX(v)
FROM (SELECT k, v FROM every_key UNION ALL SELECT k, v FROM few_keys)
GROUP BY k;
