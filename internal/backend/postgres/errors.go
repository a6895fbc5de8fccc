package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// The states of SQL (SQLSTATE, appendix A of PostgreSQL's manual) that are told apart.
const (
	uniqueViolation = "23505"
	deadlock        = "40P01"
	diskFull        = "53100"
	tooMany         = "53300" // connections
	shutDown        = "57P01" // by an operator
	crashed         = "57P02"
	starting        = "57P03"
	canceled        = "57014"
	badPassword     = "28P01"
	badUser         = "28000"
	noDatabase      = "3D000"
	noSchema        = "3F000"
	noTable         = "42P01"
	forbidden       = "42501"
	refusedToSign   = "AV001" // of ours: see decisions_not_refused in schema/
)

// stateIs says whether the server answered with one of the states.
func stateIs(err error, states ...string) bool {
	var answered *pgconn.PgError
	if !errors.As(err, &answered) {
		return false
	}
	for _, state := range states {
		if answered.Code == state {
			return true
		}
	}
	return false
}

// describe turns what the driver says into a sentence for the person who must act. Refusals and ended contexts pass.
func (db *DB) describe(err error) error { return describe(db.where, err) }

func describe(where string, err error) error {
	if err == nil {
		return nil
	}
	var refusal *problem.Error
	var answered *pgconn.PgError
	switch {
	case errors.As(err, &refusal), errors.Is(err, context.Canceled):
		return err
	case stateIs(err, refusedToSign):
		return problem.New(signer.ErrRefused.Kind, signer.ErrRefused.Code, "%w; nothing of the batch was decided, and nothing will be for this request until it is made again", err)
	case errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Unavailable, "storage-failed", "the database %s did not answer in time; whether it has carried out what was asked is not known: %w", where, err)
	case stateIs(err, lockedOut()...):
		_, why := locked(where, err)
		return problem.New(problem.Unavailable, "storage-failed", "%w", why)
	case stateIs(err, forbidden):
		return problem.New(problem.Internal, "database-forbidden", "the database %s does not allow Aval's user to do this: %w; run aval database init again, which grants what is needed", where, err)
	case stateIs(err, diskFull):
		return problem.New(problem.Unavailable, "storage-full", "the disk of the database server %s is full (%w); free some space, nothing accepted is lost", where, err)
	case stateIs(err, tooMany, shutDown, crashed, starting, canceled):
		return problem.New(problem.Unavailable, "storage-failed", "the database %s does not serve now: %w", where, err)
	case errors.As(err, &answered):
		return problem.New(problem.Internal, "storage-failed", "the database %s answered: %w", where, err)
	}
	return problem.New(problem.Unavailable, "storage-failed", "use the database %s: %w", where, err)
}

// away is for an instance that was struck off: what others take for ended takes nothing until it is listed again.
func (db *DB) away() error {
	return problem.New(problem.Unavailable, "storage-failed", "this process has lost its connection to the database %s and has not come back yet; try again", db.where)
}

// lockedOut are the states of a server that lets nobody in, and of a database that is not prepared.
func lockedOut() []string { return []string{badUser, badPassword, noDatabase, noSchema, noTable} }

// locked says why nobody is let in, and by which code a start refuses that.
func locked(where string, err error) (code string, why error) {
	switch {
	case stateIs(err, badUser):
		return "database-refused", fmt.Errorf("the database server %s does not let this user in: %w; check database.url, its sslmode too, and the server's pg_hba.conf", where, err)
	case stateIs(err, badPassword):
		return "database-refused", fmt.Errorf("the database server %s refuses the user or the password; check database.url and database.password", where)
	}
	return "database-not-prepared", fmt.Errorf("the database %s is not prepared for Aval; run aval database init once, with the URL of an administrator", where)
}

// atStart is describe, but for a server that is not there, is none, or lets nobody in, and for a database that is not prepared: that is a
// mistake of the configuration, for which a process that cannot begin does not wait. Later it is a storage that fails (storage-failed),
// which what is under way waits for: it is no mistake of whoever asks, and workflows repeat by that code. err is as the driver gave it.
func atStart(where string, err error) error {
	var unreachable *pgconn.ConnectError
	var answered *pgconn.PgError
	switch {
	case errors.As(err, &answered):
	case errors.As(err, &unreachable):
		return problem.New(problem.Invalid, "database-unreachable", "the database server %s cannot be reached (%w); start it, or correct database.url", where, unreachable.Unwrap())
	case errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Invalid, "database-unreachable", "what listens at %s does not answer as a PostgreSQL server does (%w); start one there, or correct database.url", where, err)
	}
	if stateIs(err, lockedOut()...) {
		code, why := locked(where, err)
		return problem.New(problem.Invalid, code, "%w", why)
	}
	return describe(where, err)
}

// unusable says why a URL cannot be used, as far as it can be said without repeating what may hold a password.
func unusable(address string, err error) error {
	cause := errors.New("it is not a URL")
	var wrong *pgconn.ParseConfigError
	if u, broken := url.Parse(address); broken == nil && strings.HasPrefix(u.Scheme, "postgres") && errors.As(err, &wrong) && wrong.Unwrap() != nil {
		cause = wrong.Unwrap() // one of its parameters, or a file that it names
	}
	return problem.New(problem.Invalid, "database-url-invalid", "the URL of the database cannot be used (%w); write postgres://user@host:port/name", cause)
}

// clean makes text fit for PostgreSQL, which stores neither the zero character nor broken UTF-8.
func clean(text string) string {
	if strings.IndexByte(text, 0) < 0 {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// optional is the time as it is stored; nil for none.
func optional(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	at := micros(t)
	return &at
}

func timeOf(at *int64) time.Time {
	if at == nil {
		return time.Time{}
	}
	return time.UnixMicro(*at).UTC()
}

// undeadlocked runs a write again that PostgreSQL has undone to break a deadlock: nothing of it is stored.
func undeadlocked(write func() error) error {
	for try := 1; ; try++ {
		err := write()
		if try == 5 || !stateIs(err, deadlock) {
			return err
		}
	}
}
