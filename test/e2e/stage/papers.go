package stage

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/custody/papers"
)

// Papers is a folder with an authority's ca.pem, another one's stranger.pem, and NAME.pem and NAME.key of each name that was issued.
type Papers struct {
	Folder string
	set    *papers.Set
}

// NewPapers makes an authority, and server.pem, server.key for a server on loopback.
func NewPapers(tb testing.TB) *Papers {
	tb.Helper()
	p := &Papers{Folder: tb.TempDir()}
	for _, name := range []string{"stranger", "ca"} {
		set, err := papers.New()
		if err != nil {
			tb.Fatal(err)
		}
		p.set = set
		p.Write(tb, name+".pem", set.CA)
	}
	p.Issue(tb, "server", "127.0.0.1")
	return p
}

// Issue makes a certificate that names its file and the others.
func (p *Papers) Issue(tb testing.TB, name string, others ...string) {
	tb.Helper()
	certificate, secret, err := p.set.Issue(append([]string{name}, others...)...)
	if err != nil {
		tb.Fatal(err)
	}
	p.Write(tb, name+".pem", certificate)
	p.Write(tb, name+".key", secret)
}

// Write puts a file into the folder.
func (p *Papers) Write(tb testing.TB, name string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(p.Path(name), content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Path is that of a file.
func (p *Papers) Path(name string) string { return filepath.Join(p.Folder, name) }

// TLS trusts an authority's file and shows a certificate, if one is named.
func (p *Papers) TLS(tb testing.TB, authority, name string) *tls.Config {
	tb.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	raw, err := os.ReadFile(p.Path(authority))
	if err != nil || !c.RootCAs.AppendCertsFromPEM(raw) {
		tb.Fatal(authority, err)
	}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(p.Path(name+".pem"), p.Path(name+".key"))
		if err != nil {
			tb.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
