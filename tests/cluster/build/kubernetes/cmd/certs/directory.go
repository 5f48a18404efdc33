package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// directory holds NAME.crt, NAME.key and NAME.conf files. Any failure ends the program: half a set is of no use.
type directory string

// authority is a certificate with its key, able to sign others.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newDirectory(path string) directory {
	fatal(os.MkdirAll(path, 0o700))
	return directory(path)
}

// root issues a certificate that signs itself and others.
func (d directory) root(name string) *authority {
	return d.issue(name, nil, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
}

// issue makes a key, and a certificate from template signed by by (nil: by itself).
func (d directory) issue(name string, by *authority, template *x509.Certificate) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	fatal(err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	fatal(err)
	certificate, err := x509.ParseCertificate(der)
	fatal(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	fatal(err)
	d.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	d.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	return &authority{certificate, key}
}

// kubeconfig writes NAME.conf for the client certificate NAME. JSON is YAML too, and needs no care for indentation.
func (d directory) kubeconfig(name, server string, ca *authority) {
	base64PEM := func(file string) string {
		b, err := os.ReadFile(filepath.Join(string(d), file))
		fatal(err)
		return base64.StdEncoding.EncodeToString(b)
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw})
	d.write(name+".conf", fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","current-context":"kubetether",
"clusters":[{"name":"kubetether","cluster":{"server":%q,"certificate-authority-data":%q}}],
"contexts":[{"name":"kubetether","context":{"cluster":"kubetether","user":%q}}],
"users":[{"name":%q,"user":{"client-certificate-data":%q,"client-key-data":%q}}]}
`, server, base64.StdEncoding.EncodeToString(caPEM), name, name, base64PEM(name+".crt"), base64PEM(name+".key")))
}

func (d directory) write(name string, content []byte) {
	fatal(os.WriteFile(filepath.Join(string(d), name), content, 0o600))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}
