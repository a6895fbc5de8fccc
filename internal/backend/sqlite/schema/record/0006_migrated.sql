-- The definition that a message was moved to; null: the one that it was accepted with.
ALTER TABLE messages ADD COLUMN workflow TEXT;
