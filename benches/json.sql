-- JSON lines, a filter that keeps half, JSON lines: what decoding and encoding text cost.

CREATE TABLE events_in (
  id BIGINT,
  user_id BIGINT,
  kind STRING,
  country STRING,
  amount DECIMAL(10, 2),
  quantity INT,
  price DOUBLE,
  active BOOLEAN,
  created_at TIMESTAMP(3),
  note STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${var:in}',
  'format' = 'json'
);

CREATE TABLE events_out (
  id BIGINT,
  user_id BIGINT,
  kind STRING,
  country STRING,
  amount DECIMAL(10, 2),
  quantity INT,
  price DOUBLE,
  active BOOLEAN,
  created_at TIMESTAMP(3),
  note STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${var:out}',
  'format' = 'json'
);

INSERT INTO events_out SELECT * FROM events_in WHERE active;
