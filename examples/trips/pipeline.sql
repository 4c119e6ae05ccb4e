-- Bike trips from CSV to Parquet, one folder per day: append-only, exactly once.

SET 'pipeline.name' = 'trips';

CREATE TABLE trips (
  trip_id BIGINT,
  bike STRING,
  started_at TIMESTAMP(0),
  duration_s INT,
  from_station STRING,
  to_station STRING,
  meters INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/trips.csv',
  'format' = 'csv'
);

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

-- Trips that ended nowhere, or within a minute, are mistakes.
INSERT INTO trips_by_day
SELECT
  trip_id,
  UPPER(bike),
  started_at,
  duration_s / 60,
  from_station,
  to_station,
  meters,
  CAST(1.00 + CASE WHEN bike = 'electric' THEN 0.25 ELSE 0.15 END * (duration_s / 60) AS DECIMAL(8, 2)),
  DATE_FORMAT(started_at, 'yyyy-MM-dd')
FROM trips
WHERE to_station <> '' AND duration_s >= 60;
