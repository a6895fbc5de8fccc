package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/problem"
)

// Parts gives the parts of a backup, one after the other, and io.EOF when the last one was read and found whole.
type Parts func() (name string, from io.Reader, err error)

// Load restores a backup of the level into a database without data, all of it or nothing, and migrates it to the level of this
// program. The application's user is given no rights yet: Grant does that, once the keys were set aside. A database that has data is
// refused, unless replace says that all of it is to be dropped.
func Load(ctx context.Context, url string, backup int64, replace bool, parts Parts) (err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return unusable(url, err)
	}
	where := location(config)
	if err := makeDatabase(ctx, config); err != nil {
		return atStart(where, err)
	}
	config.RuntimeParams["search_path"] = Schema
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return atStart(where, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, lockInit); err != nil {
		return describe(where, err)
	}
	if err := makeRoom(ctx, conn, where, replace); err != nil {
		return describe(where, err)
	}
	if _, err := migrateTo(ctx, config, backup); err != nil {
		return describe(where, err)
	}
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return load(ctx, tx, parts) }); err != nil {
		return describe(where, err)
	}
	if _, err := migrate(ctx, config); err != nil {
		return describe(where, err)
	}
	_, err = conn.Exec(ctx, settleIn)
	return describe(where, err)
}

// settleIn ends what the backup has of the former server: claims and leases of its processes, and requests to sign that were not
// carried out. These are refused, and their steps ask anew when their messages go on. Reference and streams begin anew.
const settleIn = `
UPDATE due SET claimer = 0 WHERE claimer <> 0;
UPDATE outbox_trimmed SET seq = greatest(seq, 1);
INSERT INTO signing_refusals (message, state, number, kind, code, detail, told)
  SELECT q.message, q.state, max(q.number), 'conflict', 'restored', 'the request was made before a restore; it is made anew', true
  FROM signing_open o JOIN signing_requests q USING (message, state) GROUP BY q.message, q.state ON CONFLICT DO NOTHING;
DELETE FROM signing_open;
ANALYZE;`

// makeRoom sees to it that the schema holds no data.
func makeRoom(ctx context.Context, conn *pgx.Conn, where string, replace bool) error {
	var prepared, used bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('aval.installation') IS NOT NULL").Scan(&prepared); err != nil {
		return err
	}
	if prepared {
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM aval.installation) OR EXISTS (SELECT FROM aval.originals) OR EXISTS (SELECT FROM aval.keys)").Scan(&used); err != nil {
			return err
		}
	}
	if used && !replace {
		return problem.New(problem.Conflict, "restore-not-empty", "the database %s has data already; restore into another one, or drop all that is in it with --replace", where)
	}
	if prepared { // also when it is empty: its level may be another one
		if err := vacate(ctx, conn, where); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+Schema)
	return err
}

// vacate drops the schema, when no program runs on it.
func vacate(ctx context.Context, conn *pgx.Conn, where string) error {
	var running string
	err := conn.QueryRow(ctx, "SELECT coalesce(string_agg(name || '-' || id, ', '), '') FROM aval.instances WHERE NOT pg_try_advisory_xact_lock($1, id)", lockClass).Scan(&running)
	if err != nil {
		return err
	}
	if running != "" {
		return problem.New(problem.Conflict, "restore-in-use", "programs run on the database %s: %s; stop them first", where, running)
	}
	_, err = conn.Exec(ctx, "DROP SCHEMA "+Schema+" CASCADE")
	return err
}

// load fills the tables. Triggers rest meanwhile: they refuse changes to what is there, and all of this was there already.
func load(ctx context.Context, tx pgx.Tx, parts Parts) error {
	tables, err := tablesOf(ctx, tx.Conn())
	if err != nil {
		return err
	}
	var off, on strings.Builder
	for _, name := range tables {
		fmt.Fprintf(&off, "ALTER TABLE %s DISABLE TRIGGER USER;", pgx.Identifier{name}.Sanitize())
		fmt.Fprintf(&on, "ALTER TABLE %s ENABLE TRIGGER USER;", pgx.Identifier{name}.Sanitize())
	}
	keys, err := foreignKeys(ctx, tx.Conn())
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, keys.drop+off.String()); err != nil {
		return err
	}
	for {
		name, from, err := parts()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = loadPart(ctx, tx, name, from)
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, on.String()+keys.add)
	return err
}

// references are the foreign keys of the schema, which are checked when all tables are full.
type references struct{ drop, add string }

func foreignKeys(ctx context.Context, conn *pgx.Conn) (r references, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I;', conrelid::regclass, conname), ''), ''),
		coalesce(string_agg(format('ALTER TABLE %s ADD CONSTRAINT %I %s;', conrelid::regclass, conname, pg_get_constraintdef(oid)), ''), '')
		FROM pg_constraint WHERE connamespace = $1::regnamespace AND contype = 'f' AND conparentid = 0`, Schema).Scan(&r.drop, &r.add)
	return r, err
}

func loadPart(ctx context.Context, tx pgx.Tx, name string, from io.Reader) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	if name == sequencesPart {
		return loadSequences(ctx, tx, lines)
	}
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the part %s: %w", name, err)
	}
	var of head
	table, known := strings.CutPrefix(name, "tables/")
	if err := json.Unmarshal(line, &of); err != nil || !known {
		return problem.New(problem.Invalid, "backup-damaged", "the backup has a part %s that is no table; take another copy", name)
	}
	target := pgx.Identifier{table}.Sanitize()
	if _, err := tx.Exec(ctx, "DELETE FROM "+target); err != nil { // what migrations have put there
		return err
	}
	if _, err = tx.Conn().PgConn().CopyFrom(ctx, lines, "COPY "+target+" ("+list(of.Columns)+") FROM STDIN"); err != nil {
		return fmt.Errorf("restore the table %s: %w", table, err)
	}
	return nil
}

func loadSequences(ctx context.Context, tx pgx.Tx, from io.Reader) error {
	var at map[string]int64
	if err := json.NewDecoder(from).Decode(&at); err != nil {
		return fmt.Errorf("read how far sequences have counted: %w", err)
	}
	for name, last := range at {
		if _, err := tx.Exec(ctx, "SELECT setval(to_regclass($1), $2) WHERE to_regclass($1) IS NOT NULL", Schema+"."+pgx.Identifier{name}.Sanitize(), last); err != nil {
			return err
		}
	}
	return nil
}

// Grant makes the application's user and gives it its rights, as Init does.
func Grant(ctx context.Context, url string, user User) (err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return unusable(url, err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return atStart(location(config), err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return describe(location(config), grant(ctx, conn, user))
}
