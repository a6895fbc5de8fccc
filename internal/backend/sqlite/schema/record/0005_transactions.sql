-- The life of a transaction after its decision: attempts that replace it, what became of it, what happened on the way.
-- A key's lane has open transactions from settled to its next nonce. Times are Unix microseconds.

ALTER TABLE keys ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX keys_open ON keys (chain, id) WHERE settled < nonce;

-- Attempt 0 is the decision itself.
CREATE TABLE attempts (
  key     INTEGER NOT NULL REFERENCES keys (seq),
  nonce   INTEGER NOT NULL,
  number  INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  tx      BLOB NOT NULL,
  by      TEXT NOT NULL,
  why     TEXT NOT NULL,
  decided INTEGER NOT NULL,
  hash    ANY,  -- as in decisions; null until signed
  raw     BLOB,
  PRIMARY KEY (key, nonce, number),
  CHECK (number > 0),
  CHECK (kind IN ('raise', 'no-op')),
  CHECK ((hash IS NULL) = (raw IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE fates (
  key     INTEGER NOT NULL,
  nonce   INTEGER NOT NULL,
  status  TEXT NOT NULL,
  sent    INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  success INTEGER NOT NULL,
  block   INTEGER NOT NULL,
  hash    ANY,  -- of the block
  gas     INTEGER NOT NULL,
  fee     TEXT NOT NULL,
  PRIMARY KEY (key, nonce)
) STRICT, WITHOUT ROWID;

CREATE TABLE transaction_events (
  seq   INTEGER PRIMARY KEY,
  key   INTEGER NOT NULL,
  nonce INTEGER NOT NULL,
  what  TEXT NOT NULL,
  by    TEXT NOT NULL,
  why   TEXT NOT NULL,
  at    INTEGER NOT NULL
) STRICT;
CREATE INDEX transaction_events_nonce ON transaction_events (key, nonce);

-- I6: a raise has the to, value and data of the decision, a no-op none of them. -> compares the JSON as it is written, so
-- that amounts beyond 64 bits are compared exactly.
CREATE TRIGGER attempts_same_intent BEFORE INSERT ON attempts
WHEN NEW.kind = 'raise' AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.key = NEW.key AND d.nonce = NEW.nonce
    AND CAST(d.tx AS TEXT) -> '$.to' IS CAST(NEW.tx AS TEXT) -> '$.to' AND CAST(d.tx AS TEXT) -> '$.value' IS CAST(NEW.tx AS TEXT) -> '$.value'
    AND CAST(d.tx AS TEXT) -> '$.data' IS CAST(NEW.tx AS TEXT) -> '$.data')
  OR NEW.kind = 'no-op' AND (CAST(NEW.tx AS TEXT) ->> '$.to' IS NOT CAST(NEW.tx AS TEXT) ->> '$.from'
    OR CAST(NEW.tx AS TEXT) -> '$.value' IS NOT '0' OR CAST(NEW.tx AS TEXT) -> '$.data' IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a replacement has the same to, value and data, or does nothing'); END;
CREATE TRIGGER attempts_in_order BEFORE INSERT ON attempts
WHEN NEW.number <> 1 + (SELECT count(*) FROM attempts WHERE key = NEW.key AND nonce = NEW.nonce)
BEGIN SELECT RAISE(ABORT, 'attempts are numbered without gaps'); END;
-- I7, I13: what was decided never changes, and its bytes are filled in once.
CREATE TRIGGER attempts_fixed BEFORE UPDATE ON attempts
WHEN OLD.raw IS NOT NULL OR NEW.raw IS NULL OR NEW.key <> OLD.key OR NEW.nonce <> OLD.nonce OR NEW.number <> OLD.number
  OR NEW.kind <> OLD.kind OR NEW.tx <> OLD.tx OR NEW.by <> OLD.by OR NEW.why <> OLD.why OR NEW.decided <> OLD.decided
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;
CREATE TRIGGER attempts_kept BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'an attempt is never deleted'); END;
-- I14: what is settled is final.
CREATE TRIGGER fates_final BEFORE UPDATE ON fates WHEN OLD.nonce < (SELECT settled FROM keys WHERE seq = OLD.key)
BEGIN SELECT RAISE(ABORT, 'what became of a settled transaction is final'); END;
CREATE TRIGGER fates_kept BEFORE DELETE ON fates BEGIN SELECT RAISE(ABORT, 'what became of a transaction is never deleted'); END;
CREATE TRIGGER transaction_events_fixed BEFORE UPDATE ON transaction_events BEGIN SELECT RAISE(ABORT, 'events never change'); END;
CREATE TRIGGER transaction_events_kept BEFORE DELETE ON transaction_events BEGIN SELECT RAISE(ABORT, 'events never change'); END;
CREATE TRIGGER keys_settle BEFORE UPDATE ON keys WHEN NEW.settled < OLD.settled OR NEW.settled > NEW.nonce
BEGIN SELECT RAISE(ABORT, 'what is settled only grows, up to what was decided'); END;
