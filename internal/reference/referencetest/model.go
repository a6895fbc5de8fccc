package referencetest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

// Model is Reference in memory, as plain as can be: what the suite holds a backend against, and a Store for tests of what
// uses one. It runs the suite itself.
type Model struct {
	Faults *fault.Points // passes reference.apply and reference.replace, as a backend does; may be nil

	mu       sync.Mutex
	rows     map[message.ID]held
	position int64
	next     int64
	fail     error
}

type held struct {
	reference.Row
	n int64 // order of arrival
}

// NewModel is empty.
func NewModel() *Model { return &Model{rows: map[message.ID]held{}} }

// Fail makes every method return err until it is called with nil.
func (m *Model) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *Model) set(row reference.Row) {
	h, there := m.rows[row.ID]
	if !there {
		m.next++
		h.n = m.next
	}
	h.Row = row
	m.rows[row.ID] = h
}

// Apply keeps the highest version of each row.
func (m *Model) Apply(_ context.Context, rows []reference.Row, seq int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(m.fail, m.Faults.Hit("reference.apply.before")); err != nil {
		return err
	}
	for _, row := range rows {
		if h, there := m.rows[row.ID]; !there || row.Version > h.Version {
			m.set(row)
		}
	}
	if seq != reference.Stay {
		m.position = seq
	}
	return m.Faults.Hit("reference.apply.after")
}

// Replace sets and removes rows.
func (m *Model) Replace(_ context.Context, rows []reference.Row, remove []message.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(m.fail, m.Faults.Hit("reference.replace.before")); err != nil {
		return err
	}
	for _, id := range remove {
		delete(m.rows, id)
	}
	for _, row := range rows {
		m.set(row)
	}
	return m.Faults.Hit("reference.replace.after")
}

// Position is the last seq applied.
func (m *Model) Position(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.position, m.fail
}

// List answers a query by looking at every row.
func (m *Model) List(_ context.Context, q reference.Query) (page reference.Page, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var after [2]int64 // accepted in microseconds, n
	if q.Cursor != "" && json.Unmarshal([]byte(q.Cursor), &after) != nil {
		return page, problem.New(problem.Invalid, "cursor-malformed", "the cursor is malformed")
	}
	var found []held
	for _, h := range m.rows {
		if matches(q, h.Row) && (q.Cursor == "" || slices.Compare(h.place(), after[:]) < 0) {
			found = append(found, h)
		}
	}
	slices.SortFunc(found, func(a, b held) int { return slices.Compare(b.place(), a.place()) })
	for i, h := range found {
		if i == q.Size() {
			last := found[i-1].place()
			page.Next = fmt.Sprintf("[%d,%d]", last[0], last[1])
			break
		}
		page.Rows = append(page.Rows, h.Row)
	}
	return page, m.fail
}

func (h held) place() []int64 { return []int64{h.Accepted.UnixMicro(), h.n} }

func matches(q reference.Query, row reference.Row) bool {
	return (q.Client == "" || q.Client == row.Attributes.Client) && (q.Type == "" || q.Type == row.Attributes.Type) &&
		(q.State == "" || q.State == row.State) && (q.Status == "" || q.Status == row.Status) &&
		(q.Wallet == "" || q.Wallet == row.Attributes.Wallet) &&
		(q.From.IsZero() || !row.Accepted.Before(q.From)) && (q.To.IsZero() || row.Accepted.Before(q.To))
}

// Counts counts every row.
func (m *Model) Counts(_ context.Context, client string) (counts []reference.Count, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	numbers := map[reference.Count]int64{}
	for _, h := range m.rows {
		if client == "" || client == h.Attributes.Client {
			numbers[reference.Count{Type: h.Attributes.Type, State: h.State, Status: h.Status}]++
		}
	}
	for count, number := range numbers {
		count.Number = number
		counts = append(counts, count)
	}
	slices.SortFunc(counts, func(a, b reference.Count) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.State, b.State), cmp.Compare(a.Status, b.Status))
	})
	return counts, m.fail
}

// Walk gives rows by id.
func (m *Model) Walk(_ context.Context, after string, limit int) (rows []reference.Row, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, h := range m.rows {
		if string(id) > after {
			rows = append(rows, h.Row)
		}
	}
	slices.SortFunc(rows, func(a, b reference.Row) int { return cmp.Compare(a.ID, b.ID) })
	return rows[:min(limit, len(rows))], m.fail
}

// Find reads rows by id.
func (m *Model) Find(_ context.Context, ids []message.ID) (rows []reference.Row, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if h, there := m.rows[id]; there {
			rows = append(rows, h.Row)
		}
	}
	return rows, m.fail
}

// Recount finds nothing: the rows themselves are counted.
func (m *Model) Recount(context.Context, bool) (int64, error) { return 0, nil }
