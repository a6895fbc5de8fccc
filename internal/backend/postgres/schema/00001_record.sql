-- The system of record, custody, parties and the read model. Times are Unix microseconds.
--
-- What only grows (originals, history, archive, decisions, signatures, definitions) is apart from what changes, so that the
-- application's user can be denied UPDATE and DELETE on it (I3): a message that ends leaves messages and due, and gets a row
-- in archive; its original and history stay where they are. These three are partitioned by month. A message's id begins with
-- the time of its issue, so the partitions are ranges of ids, the primary key is unique over all of them, and what is
-- archived costs the statements of today nothing.

-- +goose Up
CREATE TABLE installation (
  one       boolean PRIMARY KEY DEFAULT true CHECK (one),
  contract  bytea   NOT NULL,             -- the random address in the signing domain
  chain_id  bigint  NOT NULL,
  genesis   text    NOT NULL,
  keystore  text    NOT NULL              -- which key store its keys are sealed in: two clusters have two
);

-- The programs that run now. Each holds the advisory lock (1635148140, id) on a connection of its own for as long as it lives.
CREATE TABLE instances (
  id      integer PRIMARY KEY,
  name    text    NOT NULL,
  started timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE instance_ids AS integer;

CREATE TABLE issued (
  id      text COLLATE "C" PRIMARY KEY,
  client  text   NOT NULL,
  expires bigint NOT NULL
);
CREATE INDEX issued_expires ON issued (expires);

CREATE TABLE originals (
  id         text COLLATE "C" PRIMARY KEY,
  client     text   NOT NULL,
  type       text   NOT NULL,
  chain      text   NOT NULL,
  expires    bigint NOT NULL,
  scheme     text   NOT NULL,
  digest     bytea  NOT NULL,
  signer     bytea  NOT NULL,
  workflow   text   NOT NULL,
  accepted   bigint NOT NULL,
  attributes bytea  NOT NULL,
  body       bytea  NOT NULL,
  original   bytea  NOT NULL
) PARTITION BY RANGE (id);

-- One row a commit: the entries of its steps as a JSON array; version is that of the first.
CREATE TABLE history (
  id      text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  entries bytea  NOT NULL,
  PRIMARY KEY (id, version)
) PARTITION BY RANGE (id);

CREATE SEQUENCE archived;
CREATE TABLE archive (
  id      text COLLATE "C" PRIMARY KEY,
  seq     bigint NOT NULL DEFAULT nextval('archived'),
  version bigint NOT NULL,
  state   text   NOT NULL,
  status  text   NOT NULL,
  ext     bytea,
  reason  text   NOT NULL,
  updated bigint NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX archive_seq ON archive (seq);

CREATE TABLE originals_other PARTITION OF originals DEFAULT;
CREATE TABLE history_other PARTITION OF history DEFAULT;
CREATE TABLE archive_other PARTITION OF archive DEFAULT;

-- The live messages: what changes about them. Room is left on each page, so that a new version lands beside the old one and
-- touches no index.
CREATE TABLE messages (
  id      text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL,
  state   text   NOT NULL,
  status  text   NOT NULL,
  place   bytea,
  ext     bytea,
  reason  text   NOT NULL,
  updated bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- The parts of a live message's place that are stored beside it; a message's end removes them.
CREATE TABLE parts (
  id   text COLLATE "C" NOT NULL,
  key  bytea NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Attempts of Tasks that wait for an answer to their task token. The tokens themselves are nowhere.
-- status: open; answered, not taken by the workflow yet; taken; over, without an answer. What was answered is remembered for
-- ever by its digest, so that the same answer again is told from another one.
CREATE TABLE task_calls (
  id        text COLLATE "C" NOT NULL,
  call      bigint NOT NULL,
  state     text   NOT NULL,
  status    text   NOT NULL DEFAULT 'open',
  opened    bigint NOT NULL,
  until     bigint NOT NULL,
  heartbeat bigint NOT NULL,
  heard     bigint NOT NULL DEFAULT 0,
  beat      bigint,
  answered  bigint,
  answer    bytea,
  digest    bytea,
  PRIMARY KEY (id, call)
);
CREATE INDEX task_calls_heard ON task_calls (id, call) WHERE heard > 0 AND status IN ('open', 'answered');

-- The feeder: when each message is due, and which instance has claimed it; 0 is nobody.
CREATE TABLE due (
  id      text COLLATE "C" PRIMARY KEY,
  at      bigint  NOT NULL,
  claimer integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX due_unclaimed ON due (at) WHERE claimer = 0;

-- seq is the transaction's number * 2^20 + the place in it. All transactions below the oldest one that still runs have ended:
-- what is below that is complete, and in one order for ever (I16).
CREATE TABLE outbox (
  seq      bigint PRIMARY KEY,
  id       text COLLATE "C" NOT NULL,
  version  bigint  NOT NULL,
  state    text    NOT NULL,
  status   text    NOT NULL,
  reason   text    NOT NULL,
  archived boolean NOT NULL,
  updated  bigint  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE outbox_trimmed (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  seq bigint NOT NULL
);
INSERT INTO outbox_trimmed (seq) VALUES (0);

CREATE TABLE definitions (
  ref    text COLLATE "C" PRIMARY KEY,
  source bytea NOT NULL
);

-- Which definitions new messages of a type begin with: the newest row of a name counts, none is ever changed.
CREATE TABLE aliases (
  seq    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name   text COLLATE "C" NOT NULL,
  routes bytea  NOT NULL, -- JSON: [{"ref", "weight"}]; null lifts the alias
  by     text   NOT NULL,
  at     bigint NOT NULL
);
CREATE INDEX aliases_name ON aliases (name, seq);

-- What became of the requests that control points sent: one row for each message, state and target, kept for ever.
CREATE TABLE calls (
  message text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  target  text COLLATE "C" NOT NULL,
  sends   integer NOT NULL,
  phase   integer NOT NULL, -- 1 sent, 2 undone, 3 done
  at      bigint  NOT NULL,
  result  bytea,
  PRIMARY KEY (message, state, target)
);

CREATE TABLE keys (
  seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id        text COLLATE "C" NOT NULL UNIQUE,
  chain     text COLLATE "C" NOT NULL,
  address   text COLLATE "C" NOT NULL,
  pool      text COLLATE "C" NOT NULL,
  status    text    NOT NULL DEFAULT 'free',
  holder    text    NOT NULL DEFAULT '',
  instance  integer NOT NULL DEFAULT 0,
  expires   timestamptz,                -- of the lease, by the database's clock
  fence     bigint  NOT NULL DEFAULT 0,
  nonce     bigint  NOT NULL DEFAULT 0,
  known     boolean NOT NULL DEFAULT false,
  seen      bigint  NOT NULL DEFAULT 0, -- the highest next nonce that the chain has ever shown for the address
  last_used bigint  NOT NULL DEFAULT 0,
  reason    text    NOT NULL DEFAULT '',
  UNIQUE (chain, address)
);
CREATE INDEX keys_pool ON keys (chain, pool, last_used, id) WHERE status = 'free' AND pool <> '';
CREATE INDEX keys_used ON keys (last_used);
CREATE INDEX keys_taken ON keys (status) WHERE status <> 'free';

-- One row a signed effect, kept for ever: permanent effects need permanent idempotency. A key belongs to one chain, so
-- unique by (key, nonce) is unique by (chain, address, nonce): I6, A16.
CREATE TABLE decisions (
  seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message text COLLATE "C" NOT NULL,
  state   text COLLATE "C" NOT NULL,
  key     bigint NOT NULL REFERENCES keys (seq),
  nonce   bigint NOT NULL,
  fence   bigint NOT NULL,
  tx      bytea  NOT NULL,
  UNIQUE (message, state),
  UNIQUE (key, nonce)
);

-- The signed bytes of a decision: a table of its own, because a decision never changes and bytes are added once (I7, I13).
CREATE TABLE signatures (
  decision bigint PRIMARY KEY REFERENCES decisions (seq),
  hash     text COLLATE "C" NOT NULL,
  raw      bytea NOT NULL
);
CREATE INDEX signatures_hash ON signatures USING hash (hash);

-- +goose StatementBegin
-- I9, A15: fences and decided nonces only grow, and the key stays the same key.
CREATE FUNCTION keys_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.fence < OLD.fence OR NEW.nonce < OLD.nonce OR NEW.seen < OLD.seen OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
    OR NEW.chain <> OLD.chain OR NEW.address <> OLD.address THEN
    RAISE EXCEPTION 'the fence and the nonce of a key only grow';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER keys_grow BEFORE UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION keys_grow();

CREATE TABLE clients (
  id       text COLLATE "C" PRIMARY KEY,
  name     text    NOT NULL,
  disabled boolean NOT NULL,
  created  bigint  NOT NULL
);

-- The primary key is the rule that an address signs for one client only.
CREATE TABLE signers (
  address bytea PRIMARY KEY,
  client  text COLLATE "C" NOT NULL REFERENCES clients (id),
  place   integer NOT NULL -- keeps the order in which they were given
);
CREATE INDEX signers_client ON signers (client, place);

CREATE TABLE secrets (
  client text COLLATE "C" PRIMARY KEY,
  hash   bytea NOT NULL, -- never the secret itself (I25)
  scopes text  NOT NULL  -- separated by spaces, as in OAuth
);

CREATE TABLE wallets (
  id      text COLLATE "C" PRIMARY KEY,
  owner   text COLLATE "C" NOT NULL,
  name    text NOT NULL,
  chain   text COLLATE "C" NOT NULL,
  address text COLLATE "C" NOT NULL,
  key     text NOT NULL,
  created bigint NOT NULL,
  UNIQUE (owner, name),
  UNIQUE (chain, address)
);
CREATE INDEX wallets_owner ON wallets (owner, id);

-- Reference. One tally for each combination that occurs, with the number of its messages: counts cost nothing, and a list
-- by client, type, state and status is a merge of the few tallies that match. n breaks ties in lists.
CREATE TABLE view_tallies (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client text COLLATE "C" NOT NULL,
  type   text COLLATE "C" NOT NULL,
  state  text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL,
  number bigint NOT NULL DEFAULT 0,
  UNIQUE (client, type, state, status)
) WITH (fillfactor = 50);
CREATE TABLE view_messages (
  n         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id        text COLLATE "C" NOT NULL UNIQUE,
  version   bigint  NOT NULL,
  tally     bigint  NOT NULL, -- client, type, state, status
  reason    text    NOT NULL,
  archived  boolean NOT NULL,
  accepted  bigint  NOT NULL,
  updated   bigint  NOT NULL,
  chain     text    NOT NULL,
  signer    text    NOT NULL,
  wallet    text COLLATE "C" NOT NULL,
  recipient text    NOT NULL,
  asset     text    NOT NULL,
  amount    text    NOT NULL
);
CREATE INDEX view_messages_accepted ON view_messages (accepted, n);
CREATE INDEX view_messages_tally ON view_messages (tally, accepted, n);
CREATE INDEX view_messages_wallet ON view_messages (wallet, accepted, n) WHERE wallet <> '';
CREATE TABLE view_position (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  seq bigint NOT NULL -- of the outbox, the last one applied
);
INSERT INTO view_position (seq) VALUES (0);

-- +goose StatementBegin
-- The lowest id that can be issued at a time: the first 50 bits of an id are its time in milliseconds, 5 in each character.
CREATE FUNCTION first_id(at timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  ms bigint := floor(extract(epoch FROM at) * 1000);
  id text := 'msg_';
BEGIN
  FOR place IN 0..9 LOOP
    id := id || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> (45 - 5 * place)) & 31)::integer + 1, 1);
  END LOOP;
  RETURN id;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Makes the partitions of this month and the three after it. It runs with its owner's rights, so that the application's user,
-- who must not make tables, can have it done. A month for which rows have come already stays in the default partition.
CREATE FUNCTION make_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  month timestamptz;
  name text;
BEGIN
  FOR ahead IN 0..3 LOOP
    month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
    FOREACH name IN ARRAY ARRAY['originals', 'history', 'archive'] LOOP
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

-- The lowest level that a program has to know to run on this database. A migration that takes away what older programs need
-- raises it; one that only adds leaves it, so that old and new programs run side by side.
CREATE TABLE compatibility (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  level bigint NOT NULL
);
INSERT INTO compatibility (level) VALUES (1);
