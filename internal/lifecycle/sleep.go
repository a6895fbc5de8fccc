package lifecycle

import (
	"context"
	"time"
)

// Sleep waits for the time, or until ctx ends: then it gives ctx's error, also where there is no time to wait for.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
