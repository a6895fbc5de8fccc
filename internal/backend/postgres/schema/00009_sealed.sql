-- What the key store seals (keystore.Blobs): the wrapped data key, signing keys, secrets. The application's user adds and reads;
-- none of it can be opened without the key-encryption key, which is never in the database.

-- +goose Up
CREATE TABLE sealed (
  name    text COLLATE "C" PRIMARY KEY,
  content bytea NOT NULL,
  added   timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE sealed;
