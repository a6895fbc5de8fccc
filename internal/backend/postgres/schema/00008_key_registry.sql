-- Which registry outside of this database leases the keys; no row while the table keys does. The table then holds what decisions need:
-- the highest fence that was seen, with its holder, whether the key was set aside, the next nonce, and what is settled.

-- +goose Up
CREATE TABLE key_registry (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  name text NOT NULL -- which the registry keeps, too: it belongs to this database alone
);

-- +goose Down
DROP TABLE key_registry;
