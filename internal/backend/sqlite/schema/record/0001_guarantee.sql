-- The system of record: ids, originals, what changes, history, archive, definitions, outbox. Times are Unix microseconds.

CREATE TABLE issued (
  id      TEXT PRIMARY KEY,
  client  TEXT NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX issued_expires ON issued (expires);

CREATE TABLE originals (
  id         TEXT PRIMARY KEY,
  client     TEXT NOT NULL,
  type       TEXT NOT NULL,
  chain      TEXT NOT NULL,
  expires    INTEGER NOT NULL,
  scheme     TEXT NOT NULL,
  digest     BLOB NOT NULL,
  signer     BLOB NOT NULL,
  workflow   TEXT NOT NULL,
  accepted   INTEGER NOT NULL,
  attributes BLOB NOT NULL,
  body       BLOB NOT NULL,
  original   BLOB NOT NULL
) STRICT;

CREATE TABLE messages (
  id      TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  state   TEXT NOT NULL,
  status  TEXT NOT NULL,
  place   BLOB,
  ext     BLOB,
  due     INTEGER,
  reason  TEXT NOT NULL,
  updated INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_due ON messages (due) WHERE due IS NOT NULL;

-- One row a commit: the entries of its steps as a JSON array; version is that of the first.
CREATE TABLE history (
  id      TEXT NOT NULL,
  version INTEGER NOT NULL,
  entries BLOB NOT NULL,
  PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive (
  seq        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  client     TEXT NOT NULL,
  type       TEXT NOT NULL,
  chain      TEXT NOT NULL,
  expires    INTEGER NOT NULL,
  scheme     TEXT NOT NULL,
  digest     BLOB NOT NULL,
  signer     BLOB NOT NULL,
  workflow   TEXT NOT NULL,
  accepted   INTEGER NOT NULL,
  attributes BLOB NOT NULL,
  body       BLOB NOT NULL,
  original   BLOB NOT NULL,
  version    INTEGER NOT NULL,
  state      TEXT NOT NULL,
  status     TEXT NOT NULL,
  ext        BLOB,
  reason     TEXT NOT NULL,
  updated    INTEGER NOT NULL,
  history    BLOB NOT NULL
) STRICT;

CREATE TABLE outbox (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  state      TEXT NOT NULL,
  status     TEXT NOT NULL,
  reason     TEXT NOT NULL,
  archived   INTEGER NOT NULL,
  accepted   INTEGER NOT NULL,
  updated    INTEGER NOT NULL,
  attributes BLOB NOT NULL
) STRICT;

CREATE TABLE definitions (
  ref    TEXT PRIMARY KEY,
  source BLOB NOT NULL
) STRICT;

-- RAISE(ROLLBACK) instead of ABORT: so SQLite keeps no statement journal, which costs as much as the write.
-- I3: what was accepted never changes, and leaves only into the archive; I4: what is archived stays as it is.
CREATE TRIGGER originals_fixed BEFORE UPDATE ON originals BEGIN SELECT RAISE(ROLLBACK, 'originals never change'); END;
CREATE TRIGGER originals_kept BEFORE DELETE ON originals WHEN NOT EXISTS (SELECT 1 FROM archive WHERE id = OLD.id)
BEGIN SELECT RAISE(ROLLBACK, 'an original leaves only into the archive'); END;
CREATE TRIGGER archive_fixed BEFORE UPDATE ON archive BEGIN SELECT RAISE(ROLLBACK, 'the archive never changes'); END;
CREATE TRIGGER archive_kept BEFORE DELETE ON archive BEGIN SELECT RAISE(ROLLBACK, 'the archive never changes'); END;
CREATE TRIGGER history_fixed BEFORE UPDATE ON history BEGIN SELECT RAISE(ROLLBACK, 'history never changes'); END;
CREATE TRIGGER definitions_fixed BEFORE UPDATE ON definitions BEGIN SELECT RAISE(ROLLBACK, 'definitions never change'); END;
