//go:build cluster

package crash

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/test/e2e/stage"
)

// TestKilledAnywhereOnPostgres is the same run on PostgreSQL, whose server is killed, too, and started again.
func TestKilledAnywhereOnPostgres(t *testing.T) {
	began := time.Now()
	r := newRun(t, onPostgres)
	for i, s := range r.plan(*kills) {
		r.cycle(i+1, s)
	}
	r.settle()
	if *kills >= 80 {
		r.checkComplete()
	}
	r.report(time.Since(began))
}

// server is a PostgreSQL server of the run's own, so that it can be killed.
type server struct {
	*stage.Server
	t        *testing.T
	admin    *url.URL
	app      *url.URL
	password string // path of the file with the application's password
}

func onPostgres(t *testing.T) backing {
	s := &server{t: t, Server: stage.NewServer(t, "postgres"), password: filepath.Join(t.TempDir(), "password")}
	admin, err := url.Parse(s.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	admin.Path = "/aval"
	user := postgres.User{Name: "aval_app", Password: "of the crash run alone"}
	if _, err := postgres.Init(t.Context(), admin.String(), user); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.password, []byte(user.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	s.admin = admin
	app := *admin
	app.User = url.UserPassword(user.Name, user.Password)
	s.app = &app
	return s
}

func (s *server) configure(fields map[string]any) {
	shown := *s.app
	shown.User = url.User(s.app.User.Username())
	fields["database"] = map[string]any{"url": shown.String(), "password": "file:" + s.password}
}

func (s *server) open(ctx context.Context) (*postgres.DB, error) {
	return postgres.Open(ctx, s.app.String(), postgres.Options{Name: "witness", Pool: 4})
}

func (s *server) dropSecret(_ context.Context, _ *stage.Installation, name string) error {
	trial.Execute(s.t, s.admin.String(), "DELETE FROM aval.sealed WHERE name = 'secrets/"+name+".sealed'")
	return nil
}

func (s *server) reference(ctx context.Context, _ *stage.Installation) (reference.Repairs, func() error, error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return postgres.NewReference(db), db.Close, nil
}

func (s *server) custody(ctx context.Context, _ *stage.Installation) (c custody, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return c, err
	}
	return custody{postgres.NewDecisions(db), postgres.NewTransactions(db), postgres.NewKeys(db), db.Close}, nil
}

// strikes: the server is killed under the process, and is back before the process is killed as well.
func (s *server) strikes() []strike {
	return []strike{{name: "database killed", trouble: func(*run) error {
		if err := s.Act("kill"); err != nil {
			return err
		}
		return s.Act("start")
	}}}
}
