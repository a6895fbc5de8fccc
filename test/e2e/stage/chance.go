package stage

import (
	"testing"
	"time"
)

// Chance is a sequence of numbers that a seed decides (splitmix64), so that a run can be had again.
type Chance uint64

// NewChance begins with the seed, or with the time when it is 0, and tells how to begin there again.
func NewChance(tb testing.TB, seed uint64) *Chance {
	tb.Helper()
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	tb.Logf("seed %d: -args -seed=%d strikes at the same places in the same order", seed, seed)
	c := Chance(seed)
	return &c
}

// Below gives a number from 0 to n-1.
func (c *Chance) Below(n int) int {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}
