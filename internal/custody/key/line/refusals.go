package line

import (
	"context"
	"errors"
	"fmt"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// For checks a request and makes its claim; get reads a key that is wanted by name.
func For(ctx context.Context, r key.Request, get func(context.Context, string) (key.Key, error)) (*Claim, error) {
	if r.Holder == "" || r.TTL <= 0 || (r.Key == "") == (r.Pool == "") || (r.Pool != "" && r.Chain == "") {
		return nil, key.ErrInvalid
	}
	if r.Key == "" {
		return NewClaim("", PoolOf(r.Chain, r.Pool)), nil
	}
	found, err := get(ctx, r.Key)
	if err != nil {
		return nil, OutOfTime(ctx, r, err)
	}
	return NewClaim(r.Key, PoolOf(found.Chain, found.Pool)), nil
}

// Busy is the refusal of a caller who has waited as long as he could.
func Busy(r key.Request, cause error) error {
	return problem.New(key.ErrBusy.Kind, key.ErrBusy.Code, "%s was in use for as long as %s could wait: %w; try again later", wanted(r), r.Holder, cause)
}

func wanted(r key.Request) string {
	if r.Key != "" {
		return "the key " + r.Key
	}
	return fmt.Sprintf("every key of the pool %q on %s", r.Pool, r.Chain)
}

// OutOfTime tells the caller's own end from a failure.
func OutOfTime(ctx context.Context, r key.Request, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return Busy(r, err)
	}
	return err
}

// Nothing is the refusal when there is nothing to wait for: no key, or none that is not quarantined among those wanted.
func Nothing(r key.Request, keys []key.Key) error {
	if len(keys) == 0 {
		return problem.New(key.ErrUnknown.Kind, key.ErrUnknown.Code, "there is no key in the pool %q on %s", r.Pool, r.Chain)
	}
	q := key.ErrQuarantined
	if r.Key != "" {
		return problem.New(q.Kind, q.Code, "the key %s is quarantined; an operator sees why: aval key show %s", r.Key, r.Key)
	}
	return problem.New(q.Kind, q.Code, "all %d keys of the pool %q on %s are quarantined; an operator sees why: aval key show %s", len(keys), r.Pool, r.Chain, keys[0].ID)
}
