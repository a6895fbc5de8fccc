-- What was found about signed transactions, and since when their bytes are stored.

-- +goose Up
ALTER TABLE signatures ADD COLUMN stored timestamptz NOT NULL DEFAULT now();
ALTER TABLE attempt_signatures ADD COLUMN stored timestamptz NOT NULL DEFAULT now();
CREATE INDEX signatures_stored ON signatures USING brin (stored) WITH (autosummarize = on);
CREATE INDEX attempt_signatures_stored ON attempt_signatures USING brin (stored) WITH (autosummarize = on);

-- One verdict for each hash, for ever (I17). A nonce is what the bytes say, 64 bits without a sign, kept with one.
CREATE TABLE verdicts (
  seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash    text COLLATE "C" NOT NULL UNIQUE,
  word    text    NOT NULL,
  chain   text    NOT NULL,
  address text    NOT NULL,
  nonce   bigint  NOT NULL,
  key     text COLLATE "C" NOT NULL,
  message text    NOT NULL,
  state   text    NOT NULL,
  attempt integer NOT NULL,
  why     text    NOT NULL,
  source  text    NOT NULL,
  at      bigint  NOT NULL -- Unix microseconds
);
CREATE INDEX verdicts_good ON verdicts (key, nonce, attempt) WHERE word = 'good';
CREATE INDEX verdicts_findings ON verdicts (seq) WHERE word <> 'good';
