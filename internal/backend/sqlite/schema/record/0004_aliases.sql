-- Which definitions new messages of a type begin with: the newest row of a name counts, none is ever changed.

CREATE TABLE aliases (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  name   TEXT NOT NULL,
  routes BLOB NOT NULL, -- JSON: [{"ref", "weight"}]; null lifts the alias
  by     TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;
CREATE INDEX aliases_name ON aliases (name, seq);

CREATE TRIGGER aliases_fixed BEFORE UPDATE ON aliases BEGIN SELECT RAISE(ABORT, 'who directed what never changes'); END;
CREATE TRIGGER aliases_kept BEFORE DELETE ON aliases BEGIN SELECT RAISE(ABORT, 'who directed what never changes'); END;
