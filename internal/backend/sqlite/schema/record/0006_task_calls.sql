-- Attempts of Tasks that wait for an answer to their task token. The tokens themselves are nowhere. Times are Unix microseconds.
-- status: open; answered, not taken by the workflow yet; taken; over, without an answer. What was answered is remembered for
-- ever by its digest, so that the same answer again is told from another one.
CREATE TABLE task_calls (
  id        TEXT NOT NULL,
  call      INTEGER NOT NULL,
  state     TEXT NOT NULL,
  status    TEXT NOT NULL,
  opened    INTEGER NOT NULL,
  until     INTEGER NOT NULL,
  heartbeat INTEGER NOT NULL,
  heard     INTEGER NOT NULL,
  beat      INTEGER,
  answered  INTEGER,
  answer    BLOB,
  digest    BLOB,
  PRIMARY KEY (id, call)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_calls_heard ON task_calls (id, call) WHERE heard > 0 AND status IN ('open', 'answered');
