package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/avalhq/aval/client"
)

// screen is where a command reads and writes. Writing to a reader that has gone is not an error worth telling.
type screen struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	json   bool // --output json
	colour bool
	live   bool // standard error is a terminal: progress can be shown
}

func newScreen(in io.Reader, out, err *os.File) *screen {
	_, plain := os.LookupEnv("NO_COLOR") // see no-color.org
	terminal := term.IsTerminal(int(out.Fd()))
	return &screen{in: in, out: out, err: err, colour: terminal && !plain && os.Getenv("TERM") != "dumb", live: term.IsTerminal(int(err.Fd()))}
}

// The colours, as terminals number them.
const (
	red    = 31
	green  = 32
	yellow = 33
	grey   = 90
)

func (s *screen) paint(colour int, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return fmt.Sprintf("\033[%dm%s\033[0m", colour, text)
}

// say writes a line of the answer.
func (s *screen) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

// note writes a line beside the answer.
func (s *screen) note(format string, args ...any) { _, _ = fmt.Fprintf(s.err, format+"\n", args...) }

// progress shows on a terminal what is under way, and done takes it away again.
func (s *screen) progress(what string) (done func()) {
	if !s.live || s.json {
		return func() {}
	}
	_, _ = fmt.Fprintf(s.err, "%s …", what)
	return func() { _, _ = fmt.Fprint(s.err, "\r\033[K") }
}

func (s *screen) encode(to io.Writer, v any) {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) //nolint:errchkjson // what is printed here always encodes, and a reader that has gone needs no answer
}

// answer prints v as JSON, or calls text.
func (s *screen) answer(v any, text func()) {
	if !s.json {
		text()
		return
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		s.say("%s", raw)
	}
}

// facts prints names and values, aligned; those without a value are left out.
func (s *screen) facts(rows ...[2]string) {
	width := 0
	for _, row := range rows {
		if row[1] != "" {
			width = max(width, len(row[0]))
		}
	}
	for _, row := range rows {
		if row[1] != "" {
			s.say("  %s  %s", s.paint(grey, fmt.Sprintf("%-*s", width, row[0])), row[1])
		}
	}
}

// table prints rows under a header, aligned, or the sentence for none.
func (s *screen) table(header []string, rows [][]string, none string) {
	if len(rows) == 0 {
		s.say("%s", none)
		return
	}
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	s.say("%s", s.paint(grey, aligned(header, widths)))
	for _, row := range rows {
		s.say("%s", s.tinted(aligned(row, widths), row))
	}
}

// aligned is a row with its cells padded to the widths.
func aligned(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		b.WriteString(cell)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(cell), 0)+2))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// tinted colours a row by the status in it.
func (s *screen) tinted(line string, row []string) string {
	for _, cell := range row {
		switch cell {
		case string(client.Failed), "quarantined", "disabled":
			return s.paint(red, line)
		case string(client.Parked):
			return s.paint(yellow, line)
		}
	}
	return line
}

// status colours a status.
func (s *screen) status(status client.Status) string {
	switch status {
	case client.Succeeded:
		return s.paint(green, string(status))
	case client.Failed:
		return s.paint(red, string(status))
	case client.Parked:
		return s.paint(yellow, string(status))
	default:
		return string(status)
	}
}

// moment is a time as it is printed everywhere: UTC, to the millisecond.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}

// span is a duration as it is printed: in milliseconds where that is short.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms(d))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms(d))
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
