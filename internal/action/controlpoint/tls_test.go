package controlpoint_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

// issued writes a certificate of its own authority, and its key, as PEM.
func issued(t *testing.T, folder, name string) (certificate, key string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(folder, name+".pem"), filepath.Join(folder, name+"-key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: sealed}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err = tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key, pair
}

// TestTLS: a target is trusted by the file that names who vouches for it, shown our certificate, and never believed without.
func TestTLS(t *testing.T) {
	folder := t.TempDir()
	ca, _, theirs := issued(t, folder, "bank")
	certificate, key, ours := issued(t, folder, "aval")
	clients := x509.NewCertPool()
	clients.AddCert(ours.Leaf)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"protocol": %d}`, r.ProtoMajor)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{theirs}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	for files, want := range map[string]string{
		fmt.Sprintf("{ca: %q, certificate: %q, key: %q}", ca, certificate, key):                     "ok",
		fmt.Sprintf("{certificate: %q, key: %q}", certificate, key):                                 "control-point-unreachable",
		fmt.Sprintf("{ca: %q, certificate: %q, key: %q}", certificate, certificate, key):            "control-point-unreachable",
		fmt.Sprintf("{ca: %q, certificate: %q, key: %q, server_name: other}", ca, certificate, key): "control-point-unreachable",
	} {
		p, err := controlpoint.Load("get.yaml", fmt.Appendf(nil, getFile, server.URL, ", tls: "+files), options(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		s := &subject{t: t, action: p.Actions()[0]}
		s.want(s.run(false, `{}`), want)
	}
	p, err := controlpoint.Load("get.yaml", fmt.Appendf(nil, getFile, server.URL, fmt.Sprintf(", tls: {ca: %q}", ca)), options(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{t: t, action: p.Actions()[0]}
	if got := code(s.run(false, `{}`)); got == "ok" {
		t.Error("it was let in without a certificate")
	}
}
