-- Requests to sign that other processes carry out, and how far what is relayed from this database has come. Times are Unix
-- microseconds.

-- +goose Up

-- What is to be signed. One row for each time that a step asks: it asks again only after it was refused. With a key, or with the
-- least recently used one of a pool. Nothing here ever changes. Partitioned like originals, by the message's time.
CREATE TABLE signing_requests (
  message text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  number  integer NOT NULL,
  key     text COLLATE "C" NOT NULL,
  pool    text COLLATE "C" NOT NULL,
  until   bigint NOT NULL, -- after it nothing is decided for the request; 0: for ever
  tx      bytea  NOT NULL,
  PRIMARY KEY (message, state, number)
) PARTITION BY RANGE (message);
CREATE TABLE signing_requests_other PARTITION OF signing_requests DEFAULT;

-- Why a request will not be carried out. told: its message has been told.
CREATE TABLE signing_refusals (
  message text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  number  integer NOT NULL,
  kind    text    NOT NULL,
  code    text    NOT NULL,
  detail  text    NOT NULL,
  told    boolean NOT NULL DEFAULT false,
  PRIMARY KEY (message, state, number)
);

-- The requests that are not answered yet, in the order of their commits: seq as in outbox (I16). Answered ones are deleted, so
-- that what is old costs nothing.
CREATE TABLE signing_open (
  seq     bigint PRIMARY KEY,
  message text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  key     text NOT NULL,
  pool    text NOT NULL,
  at      bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX signing_open_step ON signing_open (message, state);

-- Up to which seq each source has been relayed.
CREATE TABLE relay_cursors (
  source text COLLATE "C" PRIMARY KEY,
  seq    bigint NOT NULL
) WITH (fillfactor = 50);

-- +goose StatementBegin
-- A step is decided or refused, never both. Decisions take the lock together, a refusal takes it alone: so the later one of the two
-- sees the earlier one. A refusal counts no more once its step has asked again.
CREATE FUNCTION decisions_not_refused() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  refused text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1635148140, -3);
  SELECT f.message INTO refused FROM fresh f WHERE (
    SELECT true FROM signing_refusals r WHERE r.message = f.message AND r.state = f.state
      AND NOT EXISTS (SELECT FROM signing_requests q WHERE q.message = r.message AND q.state = r.state AND q.number > r.number) LIMIT 1) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the request of % to sign was refused', refused USING ERRCODE = 'AV001';
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER decisions_not_refused AFTER INSERT ON decisions REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION decisions_not_refused();

-- +goose StatementBegin
-- As before, with one table more.
CREATE OR REPLACE FUNCTION make_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  month timestamptz;
  name text;
BEGIN
  FOR ahead IN 0..3 LOOP
    month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
    FOREACH name IN ARRAY ARRAY['originals', 'history', 'archive', 'signing_requests'] LOOP
      CONTINUE WHEN to_regclass(format('%I', name || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM'))) IS NOT NULL;
      PERFORM pg_advisory_xact_lock(1635148140, 0);
      BEGIN
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
          name || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM'), name, first_id(month),
          first_id(((month AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'));
      EXCEPTION WHEN check_violation THEN
        RAISE NOTICE 'rows of % are in %_other already and stay there', month, name;
      END;
    END LOOP;
  END LOOP;
END $$;
-- +goose StatementEnd
SELECT make_partitions();
