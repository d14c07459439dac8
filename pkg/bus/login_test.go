package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// certificate makes a certificate for 127.0.0.1 that vouches for itself, and gives its files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// refused is a server that hangs up: whether its reason still reaches us is a matter of luck.
const refused fault.Code = "refused"

func TestLogin(t *testing.T) {
	cert, key := certificate(t)
	other, otherKey := certificate(t)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	seedFile := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s := bustest.Start(t, func(o *server.Options) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		known := x509.NewCertPool()
		pemBytes, err := os.ReadFile(cert)
		if err != nil || !known.AppendCertsFromPEM(pemBytes) {
			t.Fatal("the certificate cannot be read back")
		}
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		o.TLS, o.TLSTimeout = true, 10
		o.Users = []*server.User{{Username: "u", Password: "p"}}
		o.Nkeys = []*server.NkeyUser{{Nkey: public}}
	})
	ours := bus.Login{CAFile: cert, CertFile: cert, KeyFile: key}
	with := func(f func(l *bus.Login)) bus.Login {
		l := ours
		f(&l)
		return l
	}
	for name, c := range map[string]struct {
		login bus.Login
		want  fault.Code // refused: whichever of two it is
	}{
		"user and password": {with(func(l *bus.Login) { l.User, l.Password = "u", "p" }), ""},
		"nkey":              {with(func(l *bus.Login) { l.NkeyFile = seedFile }), ""},
		"wrong password":    {with(func(l *bus.Login) { l.User, l.Password = "u", "x" }), fault.Unauthorized},
		"nobody":            {ours, fault.Unauthorized},
		"another authority": {with(func(l *bus.Login) { l.NkeyFile, l.CAFile = seedFile, other }), fault.Unauthorized},
		"no certificate":    {bus.Login{CAFile: cert, NkeyFile: seedFile}, refused},
		"another's":         {with(func(l *bus.Login) { l.NkeyFile, l.CertFile, l.KeyFile = seedFile, other, otherKey }), refused},
		"half a pair":       {bus.Login{CAFile: cert, CertFile: cert}, fault.Invalid},
		"a missing file":    {with(func(l *bus.Login) { l.NkeyFile = seedFile + ".old" }), fault.Invalid},
		"no seed":           {with(func(l *bus.Login) { l.NkeyFile = cert }), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			patience := 20 * time.Second
			if c.want == refused {
				patience = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			b, err := bus.Connect(ctx, bus.Options{URL: s.URL(), Login: c.login})
			got := fault.CodeOf(err)
			if c.want == refused && (got == fault.Unauthorized || got == fault.Unavailable) {
				return
			}
			if got != c.want {
				t.Fatalf("%v (%s), want %q", err, got, c.want)
			}
			if err == nil {
				_ = b.Close(ctx)
			}
		})
	}
}

// TestNoPasswordInErrors: an address that cannot be read is shown, but not what is secret in it.
func TestNoPasswordInErrors(t *testing.T) {
	for _, url := range []string{"nats://u:se%zzcret@127.0.0.1:1", "nats://u:se cret@127.0.0.1:1", "nats://se%zzcret@127.0.0.1:1", "se%zzcret@127.0.0.1:1", "nats://u:se%zzcret@127.0.0.1:1,nats://127.0.0.1:1"} {
		_, err := bus.Connect(t.Context(), bus.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"nats://127.0.0.1:4222":               "nats://127.0.0.1:4222",
		"nats://u:secret@h:1,tls://v:s3@g:2":  "nats://u:xxxxx@h:1,tls://v:xxxxx@g:2",
		"nats://u:se%zzcret@h:1":              "nats://xxxxx@h:1",
		"nats://h:1, nats://u:p@ss:word@h2:2": "nats://h:1,nats://u:xxxxx@h2:2",
		"nats://t0ken@h:1":                    "nats://xxxxx@h:1",
		"t0ken@h:1":                           "xxxxx@h:1",
		"u:secret@h:1,h2":                     "xxxxx@h:1,h2",
	} {
		if got := bus.Redacted(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
