package listener_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/listener"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.pem(t))
	return p
}

func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLSWithClientCertificates(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := a.issue(t, "hooks.example")
	files := map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": a.pem(t)}
	for name, data := range files {
		write(t, filepath.Join(dir, name), data)
	}
	s := start(t, fmt.Sprintf(`
listener:
  host: 127.0.0.1
  port: 0
  path: /a
  tls: {cert_file: %[1]s/cert.pem, key_file: %[1]s/key.pem, client_ca_file: %[1]s/ca.pem}
`, dir), &fake{}, listener.Config{})
	c := client(t)
	config := &tls.Config{RootCAs: a.pool(t), ServerName: "hooks.example"}
	c.Transport.(*http.Transport).TLSClientConfig = config
	if r, err := try(c, newRequest(t, "POST", s.url("/a"), `{}`)); err == nil {
		t.Errorf("without a client certificate: %+v", r)
	}
	mine, myKey := a.issue(t, "sender")
	pair, err := tls.X509KeyPair(mine, myKey)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	c = client(t)
	c.Transport.(*http.Transport).TLSClientConfig = config
	if r := do(t, c, newRequest(t, "POST", s.url("/a"), `{}`)); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	files := &compose.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	put := func(name string) {
		cert, key := a.issue(t, name)
		write(t, files.CertFile, cert)
		write(t, files.KeyFile, key)
	}
	put("one.example")
	now := time.Now()
	logs := &syncBuffer{}
	log := slog.New(slog.NewTextHandler(logs, nil))
	current, err := listener.Certificate(files, log)
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		got, err := current(now)
		if err != nil {
			t.Fatal(err)
		}
		return got.Certificates[0].Leaf.Subject.CommonName
	}
	put("two.longer.example")
	if got := name(); got != "one.example" {
		t.Errorf("%s, want one.example: the files are not looked at all the time", got)
	}
	now = now.Add(time.Minute)
	if got := name(); got != "two.longer.example" {
		t.Errorf("%s, want the new one", got)
	}
	if got := logs.String(); !strings.Contains(got, "have changed, and are in use") {
		t.Errorf("the log does not tell of the new one: %s", got)
	}
	write(t, files.KeyFile, []byte("broken"))
	now = now.Add(time.Minute)
	if got := name(); got != "two.longer.example" {
		t.Errorf("%s, want the last good one", got)
	}
	now = now.Add(time.Minute)
	name()
	if got := strings.Count(logs.String(), "cannot be used"); got != 1 {
		t.Errorf("%d warnings, want one: %s", got, logs)
	}
	if _, err := listener.Certificate(files, log); err == nil {
		t.Error("started with a broken key")
	}
}
