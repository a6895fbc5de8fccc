package clients_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

// shelf is a Store that keeps clients as they come. The rules of the Store itself are clientstest's matter.
type shelf map[string]clients.Client

func (s shelf) Put(_ context.Context, c clients.Client) error {
	s[c.ID] = c
	return nil
}

func (s shelf) Get(_ context.Context, id string) (clients.Client, error) {
	c, there := s[id]
	if !there {
		return c, clients.ErrUnknown
	}
	return c, nil
}

func (s shelf) Change(ctx context.Context, id string, change func(*clients.Client) error) (clients.Client, error) {
	c, err := s.Get(ctx, id)
	if err == nil {
		err = change(&c)
	}
	if err != nil {
		return clients.Client{}, err
	}
	return c, s.Put(ctx, c)
}

func (s shelf) List(context.Context) (list []clients.Client, err error) {
	for _, c := range s {
		list = append(list, c)
	}
	return list, nil
}

var (
	now   = time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.FixedZone("", 3600))
	alice = common.HexToAddress("0xA1")
	bob   = common.HexToAddress("0xB0")
)

func open() (*clients.Service, shelf) {
	s := shelf{}
	return clients.NewService(s, func() time.Time { return now }), s
}

var _ clients.Store = (*clients.Service)(nil)

func TestCreateThenDisableThenEnable(t *testing.T) {
	s, store := open()
	c, err := s.Create(t.Context(), "Züri Bank", []common.Address{alice, bob, alice})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := typeid.Parse("cli", c.ID); err != nil {
		t.Error(err)
	}
	if !slices.Equal(c.Signers, []common.Address{alice, bob}) || c.Disabled || !c.Created.Equal(now.Truncate(time.Microsecond)) {
		t.Errorf("created %+v", c)
	}
	if got, err := s.Get(t.Context(), c.ID); err != nil || got.Name != c.Name {
		t.Errorf("read %+v, %v", got, err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if got, err := s.Disable(t.Context(), c.ID); err != nil || !got.Disabled || !store[c.ID].Disabled {
		t.Errorf("disabled: %+v, %v", got, err)
	}
	if got, err := s.Enable(t.Context(), c.ID); err != nil || got.Disabled || store[c.ID].Disabled {
		t.Errorf("enabled: %+v, %v", got, err)
	}
	if _, err := s.Disable(t.Context(), "cli_none"); !errors.Is(err, clients.ErrUnknown) {
		t.Errorf("disabling nobody: %v", err)
	}
}

func TestRules(t *testing.T) {
	many := make([]common.Address, 101)
	for i := range many {
		many[i] = common.BigToAddress(alice.Big().Lsh(alice.Big(), uint(i)%64).Add(alice.Big(), common.Big1))
		many[i][0] = byte(i + 1)
	}
	one := []common.Address{alice}
	id := typeid.New("cli")
	tests := map[string]struct {
		client clients.Client
		code   string // "" is allowed
	}{
		"shortest name":     {clients.Client{ID: id, Name: "a", Signers: one}, ""},
		"longest name":      {clients.Client{ID: id, Name: strings.Repeat("ü", 80), Signers: one}, ""},
		"most signers":      {clients.Client{ID: id, Name: "a", Signers: many[:100]}, ""},
		"no name":           {clients.Client{ID: id, Signers: one}, "client-name-invalid"},
		"name too long":     {clients.Client{ID: id, Name: strings.Repeat("a", 81), Signers: one}, "client-name-invalid"},
		"blank name":        {clients.Client{ID: id, Name: " ", Signers: one}, "client-name-invalid"},
		"name with a line":  {clients.Client{ID: id, Name: "a\nb", Signers: one}, "client-name-invalid"},
		"name not in UTF-8": {clients.Client{ID: id, Name: "a\xff", Signers: one}, "client-name-invalid"},
		"no signer":         {clients.Client{ID: id, Name: "a"}, "signers-invalid"},
		"too many signers":  {clients.Client{ID: id, Name: "a", Signers: many}, "signers-invalid"},
		"zero signer":       {clients.Client{ID: id, Name: "a", Signers: []common.Address{alice, {}}}, "signer-zero"}, // A6
		"foreign id":        {clients.Client{ID: "msg" + id[3:], Name: "a", Signers: one}, "client-id-malformed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, store := open()
			wantCode(t, s.Put(t.Context(), test.client), test.code)
			if (len(store) == 1) != (test.code == "") {
				t.Errorf("the store holds %v", store)
			}
			if test.code == "client-id-malformed" {
				return
			}
			_, err := s.Create(t.Context(), test.client.Name, test.client.Signers)
			wantCode(t, err, test.code)
			before := clients.Client{ID: id, Name: "before", Signers: []common.Address{bob}}
			store[id] = before
			_, err = s.Change(t.Context(), id, func(c *clients.Client) error {
				c.Name, c.Signers = test.client.Name, test.client.Signers
				return nil
			})
			wantCode(t, err, test.code)
			if test.code != "" && store[id].Name != before.Name {
				t.Error("a refused change was stored")
			}
		})
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var p *problem.Error
	if code == "" && err != nil || code != "" && (!errors.As(err, &p) || p.Code != code || p.Kind != problem.Invalid) {
		t.Errorf("the answer is %v, want %q", err, code)
	}
}
