-- The parts of a live message's place that are stored beside it; a message's end removes them.
CREATE TABLE parts (
  id   TEXT NOT NULL,
  key  TEXT NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (id, key)
) STRICT, WITHOUT ROWID;
