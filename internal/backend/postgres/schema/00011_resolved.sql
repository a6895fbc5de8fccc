-- I14: what is settled is final, but that what is unknown can become confirmed or lost: an operator says what the nonce was spent on.

-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fates_final() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF (OLD.status <> 'unknown' OR NEW.status NOT IN ('unknown', 'confirmed', 'lost')) AND OLD.nonce < (SELECT settled FROM keys WHERE seq = OLD.key) THEN
    RAISE EXCEPTION 'what became of a settled transaction is final';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
