package crash

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// row is what the table says of a point.
type row struct {
	what          string
	before, after int // kills
	messages      int // submitted in the lives that ended there
	lost, doubled int // of these
}

func (r *row) kill(side string) {
	if side == ".after" {
		r.after++
		return
	}
	r.before++
}

// rowOf finds or makes the row of what is struck, and remembers it as that of the life that begins.
func (r *run) rowOf(s strike) *row {
	for _, known := range r.rows {
		if known.what == s.name {
			r.lives = append(r.lives, known)
			return known
		}
	}
	made := &row{what: s.name}
	r.rows, r.lives = append(r.rows, made), append(r.lives, made)
	return made
}

// count puts a message under the life in which it was submitted.
func (r *run) count(m *sent, lost, doubled bool) {
	if m.cycle == 0 || m.cycle > len(r.lives) {
		return
	}
	of := r.lives[m.cycle-1]
	of.messages++
	if lost {
		of.lost++
	}
	if doubled {
		of.doubled++
	}
}

// report prints the table that docs/reliability.md shows.
func (r *run) report(took time.Duration) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 4, 1, ' ', 0)
	var sum row
	fmt.Fprintf(w, "\n| point\t| kills before\t| after\t| messages\t| lost\t| doubled\t|\n|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|\n")
	for _, line := range r.rows {
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t|\n", line.what, line.before, line.after, line.messages, line.lost, line.doubled)
		sum.before, sum.after, sum.messages = sum.before+line.before, sum.after+line.after, sum.messages+line.messages
		sum.lost, sum.doubled = sum.lost+line.lost, sum.doubled+line.doubled
	}
	fmt.Fprintf(w, "| **all**\t| %d\t| %d\t| %d\t| %d\t| %d\t|\n", sum.before, sum.after, sum.messages, sum.lost, sum.doubled)
	_ = w.Flush() // to memory
	r.t.Logf("%d kills in %v; %d transfers on the chain, %d broadcast; %s after the last kill everything had ended, %d messages after an operator had resumed them%s",
		sum.before+sum.after, took.Round(time.Second), r.seen.mined, r.seen.broadcast, r.seen.settled.Round(10*time.Millisecond), r.seen.resumed, &text)
}
