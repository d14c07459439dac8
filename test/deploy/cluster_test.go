package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/test/system"
)

// Three servers of the shipped file find each other by the route's password, and hold the streams on all of them; one with another
// password stays alone.
func TestCluster(t *testing.T) {
	environment(t)
	ports := []int{system.FreePort(t), system.FreePort(t), system.FreePort(t)}
	routes := func(password string) {
		var all []string
		for _, p := range ports {
			all = append(all, fmt.Sprintf("%q", fmt.Sprintf("nats://route:%s@127.0.0.1:%d", password, p)))
		}
		t.Setenv("NATS_ROUTE_PASSWORD", `"`+password+`"`)
		t.Setenv("NATS_ROUTES", "["+strings.Join(all, ", ")+"]")
	}
	routes(password("route"))
	node := func(name string, port int) *natsServer {
		return start(t, "nats/cluster.conf", func(o *server.Options) {
			o.ServerName, o.StoreDir = name, t.TempDir()
			o.Cluster.Host, o.Cluster.Port = "127.0.0.1", port
		})
	}
	var nodes []*natsServer
	for i, p := range ports {
		nodes = append(nodes, node(fmt.Sprintf("nats-%d", i+1), p))
	}
	system.Eventually(t, "the servers are one", func() error {
		for _, n := range nodes {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == 3 {
				return nil
			}
		}
		return fmt.Errorf("routes: %d, %d, %d", nodes[0].NumRoutes(), nodes[1].NumRoutes(), nodes[2].NumRoutes())
	})
	command(t, nodes[1], "admin", "provision", "--replicas", "3")
	if out := command(t, nodes[2], "admin", "provision", "--dry-run", "--replicas", "3"); strings.Contains(out, "missing") || strings.Contains(out, "differs") {
		t.Errorf("after the streams were made:\n%s", out)
	}

	routes("another")
	node("nats-4", system.FreePort(t))
	system.Eventually(t, "the stranger is refused", func() error {
		if len(nodes[0].log.with("authentication"))+len(nodes[1].log.with("authentication"))+len(nodes[2].log.with("authentication")) == 0 {
			return fmt.Errorf("%s", nodes[0].log)
		}
		return nil
	})
	for _, n := range nodes { // the stranger itself counts a route until it is refused
		routes, err := n.Routez(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes.Routes {
			if r.RemoteName == "nats-4" {
				t.Errorf("%s has a route to a server with another password", n.Name())
			}
		}
		if peers := n.JetStreamClusterPeers(); len(peers) > 3 {
			t.Errorf("the cluster has taken in a server with another password: %v", peers)
		}
	}
}

// certificate makes a certificate for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
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

func TestServerWithTLS(t *testing.T) {
	environment(t)
	cert, key := certificate(t)
	t.Setenv("NATS_TLS_CERT", cert)
	t.Setenv("NATS_TLS_KEY", key)
	t.Setenv("NATS_TLS_CA", cert)
	n := start(t, "nats/server-tls.conf")
	t.Setenv("SWITCHBACK_NATS_CA_FILE", cert)
	t.Setenv("SWITCHBACK_NATS_CERT_FILE", cert)
	t.Setenv("SWITCHBACK_NATS_KEY_FILE", key)
	command(t, n, "admin", "provision")
	login := nats.UserInfo("admin", password("admin"))
	if _, err := nats.Connect(n.ClientURL(), login, nats.RootCAs(cert)); err == nil {
		t.Error("somebody without a certificate is let in")
	}
	if _, err := nats.Connect(strings.Replace(n.ClientURL(), "tls:", "nats:", 1), login); err == nil {
		t.Error("somebody without TLS is let in")
	}
}
