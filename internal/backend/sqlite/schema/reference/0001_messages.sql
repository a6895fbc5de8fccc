-- The read model. Times are Unix microseconds. n is a message's place in this file: it breaks ties in lists.

-- One row for each combination that occurs, with the number of its messages: counts cost nothing, and a list by client,
-- type, state and status is a merge of the few tallies that match.
CREATE TABLE tallies (
  id     INTEGER PRIMARY KEY,
  client TEXT NOT NULL,
  type   TEXT NOT NULL,
  state  TEXT NOT NULL,
  status TEXT NOT NULL,
  number INTEGER NOT NULL DEFAULT 0,
  UNIQUE (client, type, state, status)
) STRICT;

CREATE TABLE messages (
  n         INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE,
  version   INTEGER NOT NULL,
  tally     INTEGER NOT NULL, -- client, type, state, status
  reason    TEXT NOT NULL,
  archived  INTEGER NOT NULL,
  accepted  INTEGER NOT NULL,
  updated   INTEGER NOT NULL,
  chain     TEXT NOT NULL,
  signer    TEXT NOT NULL,
  wallet    TEXT NOT NULL,
  recipient TEXT NOT NULL,
  asset     TEXT NOT NULL,
  amount    TEXT NOT NULL
) STRICT;
CREATE INDEX messages_accepted ON messages (accepted);
CREATE INDEX messages_tally ON messages (tally, accepted);
CREATE INDEX messages_wallet ON messages (wallet, accepted) WHERE wallet <> '';

CREATE TABLE position (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  seq INTEGER NOT NULL -- of the outbox, the last one applied
) STRICT;
INSERT INTO position VALUES (1, 0);
