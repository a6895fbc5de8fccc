-- Moves of messages to another definition: the newest counts, none is ever changed.

-- +goose Up
CREATE TABLE migrations (
  id       text COLLATE "C" NOT NULL,
  version  bigint NOT NULL, -- of the message, with the move
  workflow text   NOT NULL,
  PRIMARY KEY (id, version)
);

-- +goose Down
DROP TABLE migrations;
