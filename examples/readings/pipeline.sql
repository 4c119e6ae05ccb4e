-- A query on its own: its rows go to standard output.
--
--   dflow run examples/readings/pipeline.sql -o jsonl | head -3

CREATE TABLE readings (
  id BIGINT
) WITH (
  'connector' = 'datagen',
  'fields.id.kind' = 'sequence',
  'fields.id.start' = '1',
  'fields.id.end' = '40'
);

SELECT
  id,
  'sensor-' || CAST(MOD(id, 4) AS STRING) AS sensor,
  id * id AS square
FROM readings
WHERE MOD(id, 2) = 0;
