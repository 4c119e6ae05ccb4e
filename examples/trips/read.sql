-- Reads what pipeline.sql wrote, in batch mode.

SET 'execution.runtime-mode' = 'batch';

CREATE TABLE trips_by_day (
  trip_id BIGINT,
  bike STRING,
  started_at TIMESTAMP(0),
  minutes INT,
  from_station STRING,
  to_station STRING,
  meters INT,
  fare DECIMAL(8, 2),
  dt STRING
) PARTITIONED BY (dt) WITH (
  'connector' = 'filesystem',
  'path' = 'out/trips',
  'format' = 'parquet'
);

SELECT * FROM trips_by_day;
