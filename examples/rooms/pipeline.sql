-- One source, two results: alerts as they come, statistics that change. The file is read once.

SET 'pipeline.name' = 'rooms';
SET 'parallelism.default' = '1';

CREATE TABLE measurements (
  room STRING,
  measured_at TIMESTAMP(0),
  celsius DECIMAL(4, 1),
  humidity INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/measurements.csv',
  'format' = 'csv'
);

CREATE TABLE alerts (
  room STRING,
  measured_at TIMESTAMP(0),
  celsius DECIMAL(4, 1)
) WITH (
  'connector' = 'filesystem',
  'path' = 'out/alerts',
  'format' = 'json'
);

CREATE TABLE stats (
  room STRING,
  measurements BIGINT,
  coldest DECIMAL(4, 1),
  hottest DECIMAL(4, 1),
  humidity INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'out/stats',
  'format' = 'debezium-json'
);

EXECUTE STATEMENT SET BEGIN
INSERT INTO alerts
SELECT room, measured_at, celsius FROM measurements WHERE celsius > 27;

INSERT INTO stats
SELECT room, COUNT(*), MIN(celsius), MAX(celsius), SUM(humidity) FROM measurements GROUP BY room;
END;
