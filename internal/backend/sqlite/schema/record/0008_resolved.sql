-- I14: what is settled is final, but that what is unknown can become confirmed or lost: an operator says what the nonce was spent on.

DROP TRIGGER fates_final;
CREATE TRIGGER fates_final BEFORE UPDATE ON fates WHEN (OLD.status <> 'unknown' OR NEW.status NOT IN ('unknown', 'confirmed', 'lost')) AND OLD.nonce < (SELECT settled FROM keys WHERE seq = OLD.key)
BEGIN SELECT RAISE(ABORT, 'what became of a settled transaction is final'); END;
