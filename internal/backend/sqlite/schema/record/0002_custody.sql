-- Custody: keys with their leases, and what was decided to be signed. Times are Unix microseconds.

CREATE TABLE keys (
  seq       INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE,
  chain     TEXT NOT NULL,
  address   TEXT NOT NULL,
  pool      TEXT NOT NULL,
  status    TEXT NOT NULL DEFAULT 'free',
  holder    TEXT NOT NULL DEFAULT '',
  fence     INTEGER NOT NULL DEFAULT 0,
  nonce     INTEGER NOT NULL DEFAULT 0,
  known     INTEGER NOT NULL DEFAULT 0,
  seen      INTEGER NOT NULL DEFAULT 0, -- the highest next nonce that the chain has ever shown for the address
  last_used INTEGER NOT NULL DEFAULT 0,
  reason    TEXT NOT NULL DEFAULT '',
  UNIQUE (chain, address)
) STRICT;
CREATE INDEX keys_pool ON keys (chain, pool, status, last_used, id) WHERE pool <> '';
CREATE INDEX keys_taken ON keys (status) WHERE status <> 'free';

-- One row a signed effect, kept for ever: permanent effects need permanent idempotency. A key belongs to one chain, so
-- unique by (key, nonce) is unique by (chain, address, nonce): I6, A16.
CREATE TABLE decisions (
  seq     INTEGER PRIMARY KEY,
  message TEXT NOT NULL,
  state   TEXT NOT NULL,
  key     INTEGER NOT NULL REFERENCES keys (seq),
  nonce   INTEGER NOT NULL,
  fence   INTEGER NOT NULL,
  tx      BLOB NOT NULL,
  hash    ANY,  -- bytes of a 0x hash, text of any other notation; null until signed
  raw     BLOB,
  UNIQUE (message, state),
  UNIQUE (key, nonce),
  CHECK ((hash IS NULL) = (raw IS NULL))
) STRICT;
CREATE INDEX decisions_unsigned ON decisions (key) WHERE raw IS NULL;
CREATE INDEX decisions_hash ON decisions (substr(hash, 1, 8)) WHERE hash IS NOT NULL; -- a prefix finds it; the whole is 4 times the size

-- I7, I13: what was decided never changes, and its bytes are filled in once.
CREATE TRIGGER decisions_fixed BEFORE UPDATE ON decisions
WHEN OLD.raw IS NOT NULL OR NEW.raw IS NULL OR NEW.seq <> OLD.seq OR NEW.message <> OLD.message OR NEW.state <> OLD.state
  OR NEW.key <> OLD.key OR NEW.nonce <> OLD.nonce OR NEW.fence <> OLD.fence OR NEW.tx <> OLD.tx
BEGIN SELECT RAISE(ABORT, 'a decision never changes'); END;
CREATE TRIGGER decisions_kept BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'a decision is never deleted'); END;
-- I9, A15: fences and decided nonces only grow, and the key stays the same key.
CREATE TRIGGER keys_grow BEFORE UPDATE ON keys
WHEN NEW.fence < OLD.fence OR NEW.nonce < OLD.nonce OR NEW.seen < OLD.seen OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR NEW.chain <> OLD.chain OR NEW.address <> OLD.address
BEGIN SELECT RAISE(ABORT, 'the fence and the nonce of a key only grow'); END;
CREATE TRIGGER keys_kept BEFORE DELETE ON keys BEGIN SELECT RAISE(ABORT, 'a key is never deleted'); END;
