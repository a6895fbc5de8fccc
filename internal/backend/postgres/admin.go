package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/avalhq/aval/internal/problem"
)

//go:embed schema/*.sql
var scripts embed.FS

// User is the application's user in the database.
type User struct {
	Name     string
	Password string // set when it is not empty; a user that is made needs one
}

// lockInit keeps two administrators from preparing a database at the same time.
const lockInit = "SELECT pg_advisory_lock(1635148140, -2)"

// Init prepares a database, or brings it up to date: schema, the application's user and its rights. url is an
// administrator's, who owns what is made; the application runs as user. It may be run again at any time, also while
// programs run on the database. It gives the level that the schema has now.
func Init(ctx context.Context, url string, user User) (level int64, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, unusable(url, err)
	}
	where := location(config)
	if err := makeDatabase(ctx, config); err != nil {
		return 0, atStart(where, err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return 0, atStart(where, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, lockInit); err != nil {
		return 0, describe(where, err)
	}
	if err := notNewer(ctx, conn, where); err != nil {
		return 0, describe(where, err)
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+Schema); err != nil {
		return 0, describe(where, err)
	}
	if err := meanwhile(ctx, conn, user); err != nil {
		return 0, describe(where, err)
	}
	if level, err = migrate(ctx, config); err != nil {
		return 0, describe(where, err)
	}
	return level, describe(where, grant(ctx, conn, user))
}

// meanwhile makes the application's user when it is missing, and lets it use new tables from the moment that they are there: triggers on
// old tables can need them, in programs that run, before grant says who may do what.
func meanwhile(ctx context.Context, conn *pgx.Conn, user User) error {
	name := pgx.Identifier{user.Name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := makeUser(ctx, tx, user, name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "ALTER DEFAULT PRIVILEGES IN SCHEMA "+Schema+" GRANT SELECT, INSERT ON TABLES TO "+name)
		return err
	})
}

// notNewer refuses a database that a newer program has prepared: the rights that this one would give are not those that it needs.
func notNewer(ctx context.Context, conn *pgx.Conn, where string) error {
	var is *int64
	err := conn.QueryRow(ctx, "SELECT max(version_id) FROM "+Schema+".goose_db_version WHERE is_applied").Scan(&is)
	if stateIs(err, noTable) || err == nil && is == nil {
		return nil
	}
	known, failed := Level()
	if err = errors.Join(err, failed); err == nil && *is > known {
		err = problem.New(problem.Invalid, "database-too-new", "the database %s is at level %d and this program knows level %d; run aval database init with the newest program that serves it", where, *is, known)
	}
	return err
}

// makeDatabase makes the database that the URL names when it is not there.
func makeDatabase(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		return conn.Close(ctx)
	}
	if !stateIs(err, noDatabase) {
		return err
	}
	elsewhere := config.Copy()
	elsewhere.Database = "postgres"
	if conn, err = pgx.ConnectConfig(ctx, elsewhere); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{config.Database}.Sanitize()+" ENCODING 'UTF8' TEMPLATE template0")
	return errors.Join(err, conn.Close(ctx))
}

// migrate brings the schema to the level of this program.
func migrate(ctx context.Context, config *pgx.ConnConfig) (int64, error) {
	newest, err := Level()
	if err != nil {
		return 0, err
	}
	return migrateTo(ctx, config, newest)
}

// migrateTo brings the schema to a level, and gives the one that it has then: no migration is undone.
func migrateTo(ctx context.Context, config *pgx.ConnConfig, to int64) (level int64, err error) {
	config = config.Copy()
	config.RuntimeParams["search_path"] = Schema
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	steps, err := provider(db)
	if err != nil {
		return 0, err
	}
	if _, err := steps.UpTo(ctx, to); err != nil {
		return 0, err
	}
	return steps.GetDBVersion(ctx)
}

func provider(db *sql.DB) (*goose.Provider, error) {
	folder, err := fs.Sub(scripts, "schema")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, folder, goose.WithVerbose(false))
}

// rights is what the application's user may do. What is in none of the lists it may only read and add to (I3): originals,
// history, archive, requests to sign, decisions, attempts, both kinds of signatures, verdicts, events of transactions, entries about keys,
// definitions, aliases, wallets, installation, sealed keys.
const rights = `
GRANT USAGE ON SCHEMA aval TO %[1]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA aval REVOKE ALL ON TABLES FROM %[1]s;
REVOKE ALL ON ALL TABLES IN SCHEMA aval FROM %[1]s;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA aval TO %[1]s;
REVOKE INSERT ON goose_db_version, compatibility FROM %[1]s;
GRANT UPDATE ON messages, parts, due, calls, task_calls, fates, outbox_trimmed, instances, keys, clients, secrets, view_tallies, view_messages, view_position TO %[1]s;
GRANT UPDATE (told) ON signing_refusals TO %[1]s;
GRANT UPDATE (ending, ended, by) ON parked_records TO %[1]s;
GRANT UPDATE, DELETE ON relay_cursors TO %[1]s;
GRANT DELETE ON messages, parts, due, outbox, signing_open, instances, issued, signers, view_messages TO %[1]s;
GRANT DELETE ON bus_records TO %[1]s;
GRANT UPDATE, DELETE ON bus_members TO %[1]s;
GRANT UPDATE ON bus_offsets TO %[1]s;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA aval TO %[1]s;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA aval FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions() TO %[1]s;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;`

// grant makes the application's user when it is missing and gives it its rights, in one transaction.
func grant(ctx context.Context, conn *pgx.Conn, user User) error {
	name := pgx.Identifier{user.Name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := makeUser(ctx, tx, user, name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SET LOCAL search_path = "+Schema+";"+fmt.Sprintf(rights, name))
		return err
	})
}

func makeUser(ctx context.Context, tx pgx.Tx, user User, name string) error {
	var there, super bool
	err := tx.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = $1", user.Name).Scan(&super)
	if there = err == nil; err != nil && !isNone(err) {
		return err
	}
	var set string
	if err := tx.QueryRow(ctx, "SELECT quote_literal($1::text)", user.Password).Scan(&set); err != nil {
		return err
	}
	switch {
	case super:
		return problem.New(problem.Invalid, "database-user-unfit", "the user %s is a superuser, whom no right can be denied; name another one for the application", user.Name)
	case !there && user.Password == "":
		return problem.New(problem.Invalid, "database-user-unfit", "there is no user %s, and no password to make one with; give --password", user.Name)
	case !there:
		_, err = tx.Exec(ctx, "CREATE ROLE "+name+" LOGIN PASSWORD "+set)
	case user.Password != "":
		_, err = tx.Exec(ctx, "ALTER ROLE "+name+" LOGIN PASSWORD "+set)
	}
	return err
}

// Level is the newest migration of this program.
func Level() (int64, error) {
	names, err := fs.Glob(scripts, "schema/*.sql")
	return int64(len(names)), err
}

// checkLevel compares the schema with what this program needs. A newer schema is fine as long as it has kept what older
// programs rely on: so old and new ones run side by side while a cluster is upgraded.
func (db *DB) checkLevel(ctx context.Context) error {
	var is, lowest int64
	err := db.pool.QueryRow(ctx, "SELECT (SELECT max(version_id) FROM goose_db_version WHERE is_applied), level FROM compatibility").Scan(&is, &lowest)
	if isNone(err) {
		return problem.New(problem.Invalid, "database-not-prepared", "the database %s is not prepared for Aval; run aval database init once, with the URL of an administrator", db.where)
	}
	if err != nil {
		return err
	}
	want, err := Level()
	switch {
	case err != nil:
		return err
	case is < want:
		return problem.New(problem.Invalid, "database-too-old", "the database %s is at level %d and this program needs %d; run aval database init with this program, which brings it up to date while others run on", db.where, is, want)
	case lowest > want:
		return problem.New(problem.Invalid, "database-too-new", "the database %s needs programs that know level %d and this one knows %d; install the newer program", db.where, lowest, want)
	}
	return nil
}
