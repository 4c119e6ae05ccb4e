-- Server errors out of a web server's log, which holds some lines that are not what they should be.
--
-- Bad records go to a dead-letter file and are counted; the run goes on.

SET 'pipeline.name' = 'weblog';

CREATE TABLE access (
  ts TIMESTAMP(3),
  `method` STRING,
  path STRING,
  status INT,
  duration_ms INT,
  `user` ROW<id BIGINT, agent STRING>
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/access.jsonl',
  'format' = 'json',
  'dflow.on-error' = 'dead-letter',
  'dflow.dead-letter.path' = 'out/dead-letters'
);

CREATE TABLE errors (
  ts TIMESTAMP(3),
  `method` STRING,
  path STRING,
  status INT,
  duration_ms INT,
  agent STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 'out/errors',
  'format' = 'csv'
);

INSERT INTO errors
SELECT ts, `method`, path, status, duration_ms, `user`.agent
FROM access
WHERE status >= 500;
