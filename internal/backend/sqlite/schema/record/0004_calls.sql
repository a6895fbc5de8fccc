-- What became of the requests that control points sent: one row for each message, state and target. Times are Unix
-- microseconds. Rows stay: an effect at another system is there for good, and so is the knowledge that it was asked for.
CREATE TABLE calls (
  message TEXT NOT NULL,
  state   TEXT NOT NULL,
  target  TEXT NOT NULL,
  sends   INTEGER NOT NULL,
  phase   INTEGER NOT NULL, -- 1 sent, 2 undone, 3 done
  at      INTEGER NOT NULL,
  result  BLOB,
  PRIMARY KEY (message, state, target)
) STRICT, WITHOUT ROWID;
