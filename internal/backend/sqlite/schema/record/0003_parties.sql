-- Clients with those who sign for them, secrets of the development token issuer, wallets. Times are Unix microseconds.

CREATE TABLE clients (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The primary key is the rule that an address signs for one client only.
CREATE TABLE signers (
  address BLOB PRIMARY KEY,
  client  TEXT NOT NULL REFERENCES clients (id),
  place   INTEGER NOT NULL -- keeps the order in which they were given
) STRICT, WITHOUT ROWID;
CREATE INDEX signers_client ON signers (client, place);

CREATE TABLE secrets (
  client TEXT PRIMARY KEY,
  hash   BLOB NOT NULL, -- never the secret itself (I25)
  scopes TEXT NOT NULL  -- separated by spaces, as in OAuth
) STRICT, WITHOUT ROWID;

CREATE TABLE wallets (
  id      TEXT PRIMARY KEY,
  owner   TEXT NOT NULL,
  name    TEXT NOT NULL,
  chain   TEXT NOT NULL,
  address TEXT NOT NULL,
  key     TEXT NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE (owner, name),
  UNIQUE (chain, address)
) STRICT;
CREATE INDEX wallets_owner ON wallets (owner, id);
