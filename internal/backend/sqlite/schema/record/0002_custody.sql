-- Custody: keys with their leases, and decisions. Placeholder statements are none: see keys.go and decisions.go.
SELECT 1;
