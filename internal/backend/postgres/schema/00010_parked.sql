-- Records of topics that a group could not use, with their bytes. An offset can mean another record once a topic was made anew, so
-- the bytes tell records apart as well. Nothing is deleted: what an operator has dealt with has an ending.

-- +goose Up
CREATE TABLE parked_records (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  reader    text COLLATE "C" NOT NULL, -- the group
  topic     text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  position  bigint  NOT NULL, -- the offset
  digest    bytea   NOT NULL, -- SHA-256 of key and value
  key       text    NOT NULL,
  value     bytea   NOT NULL,
  headers   bytea,
  code      text    NOT NULL,
  why       text    NOT NULL,
  at        bigint  NOT NULL, -- Unix microseconds
  ending    text    NOT NULL DEFAULT '' CHECK (ending IN ('', 'dropped', 'replayed')),
  ended     bigint,
  by        text    NOT NULL DEFAULT '',
  UNIQUE (reader, topic, partition, position, digest)
);
CREATE INDEX parked_records_waiting ON parked_records (id) WHERE ending = '';
