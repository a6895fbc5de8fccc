package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/problem"
)

// anew are the tables that a backup leaves out, and why: they hold what belongs to this server or its processes alone, or what is
// made from the rest. Numbers of transactions (outbox, relays, bus) mean nothing on another server.
var anew = map[string]string{
	"goose_db_version": "the restore migrates", "compatibility": "the restore migrates",
	"instances": "the programs that run now", "bus_members": "the programs that run now",
	"outbox": "numbers of this server", "outbox_trimmed": "numbers of this server", "relay_cursors": "numbers of this server",
	"bus_records": "numbers of this server", "bus_offsets": "numbers of this server",
	"view_tallies": "Reference is rebuilt", "view_messages": "Reference is rebuilt", "view_position": "Reference is rebuilt",
}

const sequencesPart = "sequences.json"

// head is the first line of a table's part: the columns of what follows in PostgreSQL's text format.
type head struct {
	Columns []string `json:"columns"`
}

// Snapshot is the database at one moment, to be backed up. Programs run on meanwhile.
type Snapshot struct {
	Level        int64
	Installation Installation
	conn         *pgx.Conn
	where        string
}

// OpenSnapshot holds the state of now, with the rights of the application's user.
func OpenSnapshot(ctx context.Context, url string) (s *Snapshot, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, unusable(url, err)
	}
	config.RuntimeParams["search_path"] = Schema
	s = &Snapshot{where: location(config)}
	if s.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return nil, atStart(s.where, err)
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(atStart(s.where, err), s.conn.Close(ctx))
	}
	return s, nil
}

func (s *Snapshot) begin(ctx context.Context) error {
	if _, err := s.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	if err := s.conn.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&s.Level); err != nil {
		return err
	}
	err := s.conn.QueryRow(ctx, "SELECT contract, chain_id, genesis, keystore FROM installation").
		Scan(&s.Installation.Contract, &s.Installation.ChainID, &s.Installation.Genesis, &s.Installation.Keystore)
	if isNone(err) {
		return problem.New(problem.Invalid, "backup-empty", "no program has run on the database %s yet: there is nothing to back up", s.where)
	}
	return err
}

// Close lets the state go.
func (s *Snapshot) Close(ctx context.Context) error { return s.conn.Close(ctx) }

// Write writes every table to a part of its own. progress is told of each table when it is begun, with the number of all.
func (s *Snapshot) Write(ctx context.Context, part func(name string) io.WriteCloser, progress func(table string, done, all int)) error {
	tables, err := tablesOf(ctx, s.conn)
	if err != nil {
		return describe(s.where, err)
	}
	tables = slices.DeleteFunc(tables, func(name string) bool { return anew[name] != "" })
	for i, name := range tables {
		progress(name, i, len(tables))
		if err := s.table(ctx, name, part("tables/"+name)); err != nil {
			return fmt.Errorf("back up the table %s: %w", name, describe(s.where, err))
		}
	}
	return s.sequences(ctx, part(sequencesPart))
}

// tablesOf lists the tables of the schema, partitions left out.
func tablesOf(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, "SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname", Schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (s *Snapshot) table(ctx context.Context, name string, to io.WriteCloser) error {
	rows, err := s.conn.Query(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum", Schema+"."+name)
	if err != nil {
		return err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	line, err := json.Marshal(head{columns})
	if err != nil {
		return err
	}
	if _, err := to.Write(append(line, '\n')); err != nil {
		return err
	}
	_, err = s.conn.PgConn().CopyTo(ctx, to, "COPY (SELECT "+list(columns)+" FROM "+pgx.Identifier{name}.Sanitize()+") TO STDOUT")
	return errors.Join(err, to.Close())
}

// list writes columns as SQL has them.
func list(columns []string) string {
	var quoted []string
	for _, c := range columns {
		quoted = append(quoted, pgx.Identifier{c}.Sanitize())
	}
	return strings.Join(quoted, ", ")
}

// sequences notes how far each has counted; they are not part of the snapshot, and may be further.
func (s *Snapshot) sequences(ctx context.Context, to io.WriteCloser) error {
	rows, err := s.conn.Query(ctx, "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = $1 AND last_value IS NOT NULL", Schema)
	if err != nil {
		return describe(s.where, err)
	}
	at := map[string]int64{}
	var name string
	var last int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &last}, func() error { at[name] = last; return nil }); err != nil {
		return describe(s.where, err)
	}
	return errors.Join(json.NewEncoder(to).Encode(at), to.Close())
}
