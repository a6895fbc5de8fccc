//go:build cluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	etcdtrial "github.com/avalhq/aval/internal/backend/etcd/trial"
	kafkatrial "github.com/avalhq/aval/internal/backend/kafka/trial"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
)

// TestClusterScripts runs the whole-program tests in test/script/cluster, each with a PostgreSQL database that is not made yet:
// AVAL_DATABASE_ADMIN, DBUSER, DBPASSWORD and DBHOST, and configurations that name it. SECONDADMIN, SECONDUSER and SECONDPASSWORD are
// those of another one, which second.yaml names. ETCD and PREFIX are a registry of the script's own, TOPICS the prefix of its
// topics, which are not made yet either; BROKER has them. "park" parks a record of the topic due that nobody can use; "older" and
// "newer" change the level of the database; "tofiles FOLDER" moves its sealed keys into a folder, where versions before had them.
func TestClusterScripts(t *testing.T) {
	server := &trial.Server{Given: os.Getenv(trial.Variable)}
	broker := &kafkatrial.Server{Given: os.Getenv(kafkatrial.Variable)}
	testscript.Run(t, testscript.Params{
		Dir: "../../test/script/cluster", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			database, user := server.Empty(t)
			e.Setenv("AVAL_DATABASE_ADMIN", database.Admin)
			e.Setenv("DBUSER", user.Name)
			e.Setenv("DBPASSWORD", user.Password)
			second, stranger := server.Empty(t)
			e.Setenv("SECONDADMIN", second.Admin)
			e.Setenv("SECONDUSER", stranger.Name)
			e.Setenv("SECONDPASSWORD", stranger.Password)
			endpoint := etcdtrial.Endpoint(t, os.Getenv(etcdtrial.Variable))
			e.Setenv("ETCD", endpoint)
			e.Setenv("ETCDHOST", strings.TrimPrefix(endpoint, "http://"))
			e.Setenv("PREFIX", etcdtrial.Prefix(t, endpoint))
			topics := broker.Empty(t)
			e.Setenv("TOPICS", topics.Prefix)
			e.Setenv("BROKER", topics.Brokers[0])
			keyManagerAt, err := freeAddress()
			if err != nil {
				return err
			}
			u, err := passwordless(database.URL)
			if err != nil {
				return err
			}
			e.Setenv("DBHOST", u.Host)
			u2, err := passwordless(second.URL)
			if err != nil {
				return err
			}
			for name, folder := range map[string]string{"cluster.yaml": "data", "othercluster.yaml": "other", "etcd.yaml": "data", "managed.yaml": "data", "keymanager.yaml": "unused", "workers.yaml": "data", "kafka.yaml": "data", "second.yaml": "second"} {
				text := "data: " + folder + "\ndatabase:\n  url: " + u.String() + "\n  password: env:DBPASSWORD\ncustody:\n  key_file: " + folder + ".kek\nchain:\n  dev:\n    port: 0\napi:\n  listen: 127.0.0.1:0\nauth:\n  dev_issuer: true\n"
				switch name {
				case "second.yaml":
					text = strings.NewReplacer(u.String(), u2.String(), "env:DBPASSWORD", "env:SECONDPASSWORD").Replace(text)
				case "workers.yaml":
					text += "signing:\n  by: workers\n"
				case "managed.yaml":
					text += keyManagerSection("aval", keyManagerAt)
				case "keymanager.yaml":
					text = strings.Replace(text, "auth:\n  dev_issuer: true\n", "", 1)
					text += keyManagerSection("key-manager", keyManagerAt)
				}
				if slices.Contains([]string{"etcd.yaml", "managed.yaml", "keymanager.yaml"}, name) {
					text += "etcd:\n  endpoints: " + endpoint + "\n  prefix: " + e.Getenv("PREFIX") + "\n"
				}
				if name == "kafka.yaml" {
					text += "kafka:\n  brokers: " + topics.Brokers[0] + "\n  prefix: " + topics.Prefix + "\n  partitions: 4\n"
				}
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "dev": startDev, "serve": startServe, "quit": quitDev, "tofiles": toFiles, "json": jsonIs, "jsonenv": jsonEnv,
			"park": func(ts *testscript.TestScript, _ bool, _ []string) {
				alter(ts, "INSERT INTO aval.parked_records (reader, topic, partition, position, digest, key, value, code, why, at) VALUES ('controllers', 'due', 0, 0, '', 'strange', '{}', 'record-unreadable', 'parked by hand', 1)")
			},
			"older": func(ts *testscript.TestScript, _ bool, _ []string) {
				alter(ts, "DELETE FROM aval.goose_db_version WHERE version_id = (SELECT max(version_id) FROM aval.goose_db_version)")
			},
			"newer": func(ts *testscript.TestScript, _ bool, _ []string) {
				alter(ts, "INSERT INTO aval.goose_db_version (version_id, is_applied) VALUES (99, true); UPDATE aval.compatibility SET level = 99")
			},
		},
	})
}

// passwordless is a URL as a configuration has it.
func passwordless(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err == nil {
		u.User = url.User(u.User.Username())
	}
	return u, err
}

// toFiles moves the sealed keys out of the database.
func toFiles(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	admin, err := postgres.ConnectSealed(ctx, ts.Getenv("AVAL_DATABASE_ADMIN"))
	ts.Check(err)
	defer func() { ts.Check(admin.Close(ctx)) }()
	files := sealed.NewFiles(ts.MkAbs(args[0]))
	for _, folder := range []string{"keys", "secrets"} {
		names, err := admin.List(ctx, folder)
		ts.Check(err)
		for _, name := range append(names, "store.json") {
			content, err := admin.Get(ctx, name)
			ts.Check(err)
			if err := files.Add(ctx, name, content); !errors.Is(err, fs.ErrExist) {
				ts.Check(err)
			}
		}
	}
	alter(ts, "DELETE FROM aval.sealed")
}

// freeAddress is one on loopback where nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// keyManagerSection is that of a process with the certificate of this name.
func keyManagerSection(name, at string) string {
	return fmt.Sprintf("key_manager:\n  address: %s\n  listen: %s\n  tls: {ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s.key}\n", at, at, name, name)
}

func alter(ts *testscript.TestScript, statements string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("AVAL_DATABASE_ADMIN"))
	ts.Check(err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statements)
	ts.Check(err)
}
