package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

type jobCommands struct {
	Verify           jobVerify           `cmd:"" help:"Compare everything that was signed with what was decided."`
	SeedKeys         jobSeedKeys         `cmd:"" help:"Make signing keys in a pool, for trials and measurements."`
	SeedTransactions jobSeedTransactions `cmd:"" help:"Stock the database with unsigned transactions, for trials and measurements."`
}

type jobVerify struct {
	settings `embed:""`
	File     string        `name:"config" env:"AVAL_CONFIG" help:"Configuration file, which says where the record is. Without it: the data folder." placeholder:"FILE"`
	Since    string        `help:"Only what belongs to messages that were issued since then: a time such as 2006-01-02T15:04:05Z, or a duration such as 24h." placeholder:"TIME"`
	Grace    time.Duration `default:"2s" help:"How long a decision may be without a signature while it is looked at." placeholder:"DURATION"`
}

// Help is shown by aval job verify --help.
func (jobVerify) Help() string {
	return `The sender of every signed transaction is recovered from its bytes, and compared with the decision that should authorise it: chain, nonce, recipient, value, data, price. What was decided has to be signed, and what the role tx-verify found before is told again. Nothing is changed; it may run beside a running Aval. The exit code is 1 when anything was found.

    aval job verify --data aval-data
    aval job verify --config aval.yaml --since 24h
    aval job verify --config aval.yaml --output json     # a line for each finding, and one for the report

    orphan      signed, and nobody decided it: the key is used by somebody else. Stop it: aval key list
    double      signed twice: two sets of bytes, or two intents, for one nonce
    altered     signed and decided differ: a row was changed after it was committed
    unreadable  the bytes are no transaction that Aval could have made
    unsigned    decided, and never signed: its message is signed with the same nonce when it resumes`
}

// Run is the command.
func (c *jobVerify) Run(ctx context.Context, s *screen) (err error) {
	cfg, err := c.load(c.File)
	if err != nil {
		return err
	}
	since, err := readSince(c.Since, time.Now())
	if err != nil {
		return err
	}
	ports, closing, err := openSigned(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing()) }()
	report, err := verify.New(ports, verify.Options{}).Compare(ctx, verify.Comparison{
		Since: since, Grace: c.Grace, Found: s.finding,
		Report: func(r verify.Report) { s.counting("%d transactions of %d keys verified …", r.Transactions, r.Keys) },
	})
	s.counted()
	if err != nil {
		return err
	}
	s.verified(report)
	if !report.Clean() {
		return errTold
	}
	return nil
}

// readSince reads a time, or a duration before now; nothing means from the beginning.
func readSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, misused("flag-invalid", "--since takes a time such as 2006-01-02T15:04:05Z or a duration such as 24h, not %q", text)
	}
	return at, nil
}

// openSigned opens what a comparison reads: the database, or the file of a data folder, which another process may be using.
func openSigned(ctx context.Context, cfg config.Config) (ports verify.Ports, closing func() error, err error) {
	if cfg.Database.URL == "" {
		db, err := sqlite.OpenReader(ctx, filepath.Join(cfg.Data, "aval.db"))
		if err != nil {
			return ports, nil, err
		}
		return verify.Ports{Transactions: sqlite.NewTransactions(db), Keys: sqlite.NewKeys(db), Codec: decoder}, db.Close, nil
	}
	address, err := databaseURL(cfg.Database)
	if err != nil {
		return ports, nil, err
	}
	db, err := postgres.Open(ctx, address, postgres.Options{Name: program + "-job", Pool: 4})
	if err != nil {
		return ports, nil, err
	}
	return verify.Ports{Transactions: postgres.NewTransactions(db), Keys: postgres.NewKeys(db), Verdicts: postgres.NewVerdicts(db), Codec: decoder}, db.Close, nil
}

// decoder reads the transactions of an EVM chain by its CAIP-2 id; it needs no node.
func decoder(id string) (verify.Decoder, error) {
	number, is := strings.CutPrefix(id, "eip155:")
	n, err := strconv.ParseUint(number, 10, 64)
	if !is || err != nil || n == 0 {
		return nil, problem.New(problem.Invalid, "chain-unknown", "%q is no chain whose transactions can be read", id)
	}
	return evm.NewCodec(n), nil
}

// finding is what JSON says of a verdict.
type finding struct {
	Verdict verify.Word `json:"verdict"`
	Hash    string      `json:"hash,omitempty"`
	Chain   string      `json:"chain"`
	Address string      `json:"address,omitempty"`
	Nonce   uint64      `json:"nonce"`
	Key     string      `json:"key,omitempty"`
	Message string      `json:"message,omitempty"`
	State   string      `json:"state,omitempty"`
	Attempt int         `json:"attempt"`
	Why     string      `json:"why"`
	Remedy  string      `json:"remedy"`
}

// finding prints a finding as soon as it is there.
func (s *screen) finding(v verify.Verdict) {
	s.counted()
	if s.json {
		s.encode(s.out, map[string]finding{"finding": {
			v.Word, v.Hash, v.Place.Chain, v.Place.Address, v.Place.Nonce, v.Key, string(v.Step.Message), v.Step.State, v.Attempt, v.Why, remedy(v),
		}})
		return
	}
	s.say("%s  %s", s.paint(red, string(v.Word)), v.Why)
	s.facts([2]string{"hash", v.Hash}, [2]string{"key", v.Key}, [2]string{"message", string(v.Step.Message)}, [2]string{"to do", remedy(v)})
}

// remedy says what to do about a finding.
func remedy(v verify.Verdict) string {
	name := v.Key
	if name == "" {
		name = v.Place.Address
	}
	switch v.Word {
	case verify.Unsigned:
		if transaction.Filled(v.Step) {
			return fmt.Sprintf("aval tx why %s; it fills a nonce, and its lane signs it", transaction.ID{Key: v.Key, Nonce: v.Place.Nonce})
		}
		return fmt.Sprintf("aval message why %s; it is signed with this nonce when the message resumes, or by its lane", v.Step.Message)
	case verify.Orphan, verify.Double:
		return fmt.Sprintf("somebody else signs with %s: stop all processes that hold its key store, look for the hash on the chain, and move what the address holds", name)
	case verify.Altered, verify.Unreadable:
		return "somebody has changed the record: compare the row with a backup, and find out who may write to the database beside Aval"
	case verify.Good, verify.Unseen: // a comparison finds neither
	}
	return "aval tx list --key " + name
}

// verified prints the report.
func (s *screen) verified(r verify.Report) {
	if s.json {
		s.encode(s.out, map[string]verify.Report{"report": r})
		return
	}
	verdict := "every signature was decided"
	if !r.Clean() {
		verdict = "see above"
	}
	s.facts([2]string{"keys", fmt.Sprint(r.Keys)}, [2]string{"transactions", fmt.Sprint(r.Transactions)}, [2]string{"signatures", fmt.Sprint(r.Signatures)},
		[2]string{"verified before", number(int64(r.Verdicts))}, [2]string{"verdict", verdict})
}

// counting shows how far something has come, on a terminal.
func (s *screen) counting(format string, args ...any) {
	if s.live && !s.json {
		_, _ = fmt.Fprintf(s.err, "\r\033[K"+format, args...)
	}
}

// counted takes it away again.
func (s *screen) counted() {
	if s.live && !s.json {
		_, _ = fmt.Fprint(s.err, "\r\033[K")
	}
}
