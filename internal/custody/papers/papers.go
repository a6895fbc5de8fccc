// Package papers makes a certificate authority, and certificates of it, for trying out the key-manager and for its tests. It is not
// for production: the authority's key is where the others are, and nothing is ever revoked.
package papers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// lasting is how long certificates are good for.
const lasting = 365 * 24 * time.Hour

// Set is an authority. Everything is PEM.
type Set struct {
	CA, Key []byte // its certificate, and its private key

	certificate *x509.Certificate
	secret      *ecdsa.PrivateKey
}

// New makes an authority.
func New() (*Set, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Aval development authority"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	s := &Set{}
	var err error
	s.CA, s.Key, err = s.sign(template)
	return s, err
}

// Load is an authority that was made before.
func Load(ca, secret []byte) (*Set, error) {
	pair, err := tls.X509KeyPair(ca, secret)
	if err != nil {
		return nil, problem.New(problem.Invalid, "certificate-unusable", "the authority's certificate and its key cannot be used: %w; make a new one", err)
	}
	own, is := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !is || !pair.Leaf.IsCA {
		return nil, problem.New(problem.Invalid, "certificate-unusable", "the certificate is not of an authority that was made here; make a new one")
	}
	return &Set{CA: ca, Key: secret, certificate: pair.Leaf, secret: own}, nil
}

// Issue makes a certificate, for servers and workers alike, with the names: host names, addresses, names of workers.
func (s *Set) Issue(names ...string) (certificate, secret []byte, err error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return s.sign(template)
}

// sign completes a certificate; the first is the authority's own.
func (s *Set) sign(template *x509.Certificate) (certificate, secret []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(lasting)
	parent, signer := s.certificate, s.secret
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	if s.certificate == nil {
		if s.certificate, err = x509.ParseCertificate(raw); err != nil {
			return nil, nil, err
		}
		s.secret = key
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}), nil
}
