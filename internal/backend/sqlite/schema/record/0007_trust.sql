-- Replacements are found by hash. A key that the chain shows to be used by somebody else is not trusted until an operator
-- says so, in writing. Times are Unix microseconds.

CREATE INDEX attempts_hash ON attempts (substr(hash, 1, 8)) WHERE hash IS NOT NULL;

ALTER TABLE keys ADD COLUMN distrust TEXT NOT NULL DEFAULT ''; -- why it is not trusted; '' when it is

CREATE TABLE key_entries (
  seq   INTEGER PRIMARY KEY,
  key   INTEGER NOT NULL REFERENCES keys (seq),
  what  TEXT NOT NULL,
  by    TEXT NOT NULL,
  why   TEXT NOT NULL,
  nonce INTEGER NOT NULL, -- what the chain had spent
  at    INTEGER NOT NULL
) STRICT;
CREATE INDEX key_entries_key ON key_entries (key);
CREATE TRIGGER key_entries_fixed BEFORE UPDATE ON key_entries BEGIN SELECT RAISE(ABORT, 'what was done about a key never changes'); END;
CREATE TRIGGER key_entries_kept BEFORE DELETE ON key_entries BEGIN SELECT RAISE(ABORT, 'what was done about a key never changes'); END;
