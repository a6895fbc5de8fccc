-- The bus, for clusters without another one: records that are added and trimmed, never changed. Times are Unix microseconds.

-- +goose Up
-- seq is made as in the outbox, and read below the oldest transaction that still runs (I16).
CREATE TABLE bus_records (
  topic     text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  seq       bigint  NOT NULL,
  key       text COLLATE "C" NOT NULL,
  value     bytea   NOT NULL,
  headers   bytea,            -- a JSON object; null when there are none
  at        bigint  NOT NULL, -- when it was published, for the trim
  PRIMARY KEY (topic, partition, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE bus_members (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name     text COLLATE "C" NOT NULL, -- of the group
  instance integer NOT NULL
);
CREATE INDEX bus_members_name ON bus_members (name);

-- How far a group has come in each partition, and which member reads it; 0 is nobody.
CREATE TABLE bus_offsets (
  name      text COLLATE "C" NOT NULL, -- of the group
  topic     text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  done      bigint  NOT NULL DEFAULT 0,
  member    bigint  NOT NULL DEFAULT 0,
  term      bigint  NOT NULL DEFAULT 0, -- grows with each change of the member
  PRIMARY KEY (name, topic, partition)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
