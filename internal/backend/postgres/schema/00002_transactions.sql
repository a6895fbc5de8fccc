-- The life of a transaction after its decision: attempts that replace it, what became of it, what happened on the way.
-- A key's lane has open transactions from settled to its next nonce. Times are Unix microseconds.

-- +goose Up
ALTER TABLE keys ADD COLUMN settled bigint NOT NULL DEFAULT 0, ADD CHECK (settled <= nonce);
CREATE INDEX keys_open ON keys (chain, id) WHERE settled < nonce;

-- Attempt 0 is the decision itself.
CREATE TABLE attempts (
  key     bigint  NOT NULL,
  nonce   bigint  NOT NULL,
  number  integer NOT NULL CHECK (number > 0),
  kind    text    NOT NULL CHECK (kind IN ('raise', 'no-op')),
  tx      bytea   NOT NULL,
  by      text    NOT NULL,
  why     text    NOT NULL,
  decided bigint  NOT NULL,
  PRIMARY KEY (key, nonce, number),
  FOREIGN KEY (key, nonce) REFERENCES decisions (key, nonce)
);

-- The signed bytes of an attempt, added once (I7, I13).
CREATE TABLE attempt_signatures (
  key    bigint  NOT NULL,
  nonce  bigint  NOT NULL,
  number integer NOT NULL,
  hash   text COLLATE "C" NOT NULL,
  raw    bytea NOT NULL,
  PRIMARY KEY (key, nonce, number),
  FOREIGN KEY (key, nonce, number) REFERENCES attempts (key, nonce, number)
);

CREATE TABLE fates (
  key     bigint  NOT NULL REFERENCES keys (seq),
  nonce   bigint  NOT NULL,
  status  text    NOT NULL,
  sent    bigint,
  attempt integer NOT NULL,
  success boolean NOT NULL,
  block   bigint  NOT NULL,
  hash    text    NOT NULL, -- of the block
  gas     bigint  NOT NULL,
  fee     text    NOT NULL, -- decimal digits, "" when not known
  PRIMARY KEY (key, nonce)
);

CREATE TABLE transaction_events (
  seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key   bigint NOT NULL REFERENCES keys (seq),
  nonce bigint NOT NULL,
  what  text   NOT NULL,
  by    text   NOT NULL,
  why   text   NOT NULL,
  at    bigint NOT NULL
);
CREATE INDEX transaction_events_nonce ON transaction_events (key, nonce, seq);

-- +goose StatementBegin
-- I6: a raise has the to, value and data of the decision, a no-op none of them. The JSON is compared as it is written, so that
-- amounts beyond 64 bits are compared exactly. Attempts are numbered without gaps.
CREATE FUNCTION attempts_fit() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  first json;
  tx json := convert_from(NEW.tx, 'UTF8')::json;
  before integer;
BEGIN
  SELECT convert_from(d.tx, 'UTF8')::json INTO first FROM decisions d WHERE d.key = NEW.key AND d.nonce = NEW.nonce;
  SELECT count(*) INTO before FROM attempts WHERE key = NEW.key AND nonce = NEW.nonce;
  IF NEW.kind = 'raise' AND ((first -> 'to')::text IS DISTINCT FROM (tx -> 'to')::text OR (first -> 'value')::text IS DISTINCT FROM (tx -> 'value')::text
      OR (first -> 'data')::text IS DISTINCT FROM (tx -> 'data')::text)
    OR NEW.kind = 'no-op' AND ((tx ->> 'to') IS DISTINCT FROM (tx ->> 'from') OR (tx ->> 'value') IS DISTINCT FROM '0' OR (tx ->> 'data') IS NOT NULL) THEN
    RAISE EXCEPTION 'a replacement has the same to, value and data, or does nothing';
  END IF;
  IF NEW.number <> before + 1 THEN
    RAISE EXCEPTION 'attempts are numbered without gaps';
  END IF;
  RETURN NEW;
END $$;
-- I14: what is settled is final.
CREATE FUNCTION fates_final() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF OLD.nonce < (SELECT settled FROM keys WHERE seq = OLD.key) THEN
    RAISE EXCEPTION 'what became of a settled transaction is final';
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION keys_settle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.settled < OLD.settled THEN
    RAISE EXCEPTION 'what is settled only grows';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER attempts_fit BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION attempts_fit();
CREATE TRIGGER fates_final BEFORE UPDATE ON fates FOR EACH ROW EXECUTE FUNCTION fates_final();
CREATE TRIGGER keys_settle BEFORE UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION keys_settle();
