-- A key that the chain shows to be used by somebody else is not trusted until an operator says so, in writing.
-- Replacements are found by hash. Times are Unix microseconds.

-- +goose Up
CREATE INDEX attempt_signatures_hash ON attempt_signatures (hash);

ALTER TABLE keys ADD COLUMN distrust text NOT NULL DEFAULT ''; -- why it is not trusted; '' when it is

CREATE TABLE key_entries (
  seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key   bigint NOT NULL REFERENCES keys (seq),
  what  text   NOT NULL,
  by    text   NOT NULL,
  why   text   NOT NULL,
  nonce bigint NOT NULL, -- what the chain had spent
  at    bigint NOT NULL
);
CREATE INDEX key_entries_key ON key_entries (key, seq);
