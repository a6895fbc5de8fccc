package main

import (
	"testing"
	"time"
)

// TestARateIsKeptAndTheTimeToSentMeasured: with the whole platform, on the embedded chain.
func TestARateIsKeptAndTheTimeToSentMeasured(t *testing.T) {
	m := newMeter(benchFlags{InFlight: 64, Count: 12})
	m.rate = 10
	f, err := benchTransfers(t.Context(), m, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	if f.Count != 12 || f.Seconds < 1.1 {
		t.Errorf("%d transfers at 10 a second took %.2f s", f.Count, f.Seconds)
	}
	if f.Sent == nil || f.Sent.P50 <= 0 || f.Sent.P99 < f.Sent.P50 || f.Sent.P50 > f.P99 {
		t.Errorf("from submission to sent: %+v; to the end: %.2f ms", f.Sent, f.P50)
	}
}

// TestOnlyWhatWasSentCounts: other actions, and others' messages, are no latency.
func TestOnlyWhatWasSentCounts(t *testing.T) {
	var l latency
	l.submitted("msg_a")
	l.acted("msg_a", "sign")
	l.acted("msg_b", "send")
	if f := l.figures(); f != nil {
		t.Errorf("nothing was sent, and it took %+v", f)
	}
	time.Sleep(time.Millisecond) // what is measured
	l.acted("msg_a", "send")
	l.acted("msg_a", "send") // again, after a crash
	if f := l.figures(); f == nil || f.P50 < 1 || len(l.spent) != 1 {
		t.Errorf("measured %+v of %v", f, l.spent)
	}
}
