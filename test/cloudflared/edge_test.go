package cloudflared_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	"capnproto.org/go/capnp/v3/server"
	"golang.org/x/net/http2"
)

// edge is Cloudflare's edge as far as cloudflared asks one: it gives quick tunnels, takes connections over HTTP/2 (on
// which it is the client), registers them, and sends requests down.
type edge struct {
	t        *testing.T
	addr     string // of its connections
	api      string // of quick tunnels
	ca       string // file of its authority
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex
	refusal string // of registrations, for good
	quota   bool   // quick tunnels are refused
	last    *down  // the last connection that was registered
	open    []net.Conn
	left    int // connections that were unregistered
	came    chan struct{}
}

// down is a connection that requests can be sent down.
type down struct {
	conn   net.Conn
	client *http2.ClientConn //nolint:staticcheck // that of net/http dials by itself, and here the other side has
	tunnel []byte            // id
}

const quickHost = "fake-quick.trycloudflare.test"

func startEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{t: t, ca: filepath.Join(t.TempDir(), "ca.pem"), came: make(chan struct{}, 16)}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{e.certificate()}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(e.quick))
	e.listener, e.addr, e.api = l, l.Addr().String(), api.URL
	e.work.Go(e.accept)
	t.Cleanup(func() {
		api.Close()
		_ = l.Close()
		e.cut()
		e.work.Wait()
	})
	return e
}

// certificate is of the name that cloudflared wants of an edge over HTTP/2.
func (e *edge) certificate() tls.Certificate {
	e.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		e.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, DNSNames: []string{"h2.cftunnel.com"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(e.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// quick gives a quick tunnel, or says that there were too many.
func (e *edge) quick(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	quota := e.quota
	e.mu.Unlock()
	if quota {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "error code: 1015")
		return
	}
	_, _ = fmt.Fprintf(w, `{"success":true,"result":{"id":"f174e90a-fafe-4643-bbbc-4a0ed4fc8415","name":"q","hostname":%q,"account_tag":"a","secret":%q},"errors":[]}`,
		quickHost, base64.StdEncoding.EncodeToString(make([]byte, 32)))
}

func (e *edge) accept() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		e.open = append(e.open, conn)
		e.mu.Unlock()
		e.work.Go(func() {
			defer func() { _ = conn.Close() }()
			if err := e.serve(conn); err != nil {
				e.t.Logf("edge: %v", err)
			}
		})
	}
}

// cut ends every connection.
func (e *edge) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.open {
		_ = c.Close()
	}
	e.open = nil
}

// serve opens the control stream, on which cloudflared registers, and waits for its end.
func (e *edge) serve(conn net.Conn) error {
	if err := conn.(*tls.Conn).HandshakeContext(context.Background()); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	client, err := (&http2.Transport{}).NewClientConn(conn) //nolint:staticcheck // see down
	if err != nil {
		return fmt.Errorf("http/2: %w", err)
	}
	from, to := io.Pipe()
	req, err := http.NewRequest(http.MethodGet, "https://edge.test/", from)
	if err != nil {
		return err
	}
	req.Header.Set("Cf-Cloudflared-Proxy-Connection-Upgrade", "control-stream")
	resp, err := client.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("open the control stream: %w", err)
	}
	registration := &registration{e: e, down: &down{conn: conn, client: client}}
	control := rpc.NewConn(rpc.NewStreamTransport(&stream{Reader: resp.Body, Writer: to, close: func() error {
		return errors.Join(to.Close(), resp.Body.Close())
	}}), &rpc.Options{BootstrapClient: capnp.NewClient(server.New(registration.methods(), nil, nil))})
	<-control.Done()
	return nil
}

type stream struct {
	io.Reader
	io.Writer
	close func() error
}

func (s *stream) Close() error { return s.close() }

// registration is Cap'n Proto's RegistrationServer.
type registration struct {
	e    *edge
	down *down
}

const registrationServer = 0xf71695ec7fe85497

func (r *registration) methods() []server.Method {
	method := func(id uint16, name string, impl func(ctx context.Context, call *server.Call) error) server.Method {
		return server.Method{
			Method: capnp.Method{InterfaceID: registrationServer, MethodID: id, InterfaceName: "RegistrationServer", MethodName: name},
			Impl:   impl,
		}
	}
	empty := func(_ context.Context, call *server.Call) error {
		_, err := call.AllocResults(capnp.ObjectSize{})
		return err
	}
	return []server.Method{
		method(0, "registerConnection", r.register),
		method(1, "unregisterConnection", func(ctx context.Context, call *server.Call) error {
			r.e.mu.Lock()
			r.e.left++
			r.e.mu.Unlock()
			return empty(ctx, call)
		}),
		method(2, "updateLocalConfiguration", empty),
	}
}

// register answers a ConnectionResponse: a union of ConnectionError (0) and ConnectionDetails (1).
func (r *registration) register(_ context.Context, call *server.Call) error {
	id, err := call.Args().Ptr(1)
	if err != nil {
		return err
	}
	r.down.tunnel = id.Data()
	results, err := call.AllocResults(capnp.ObjectSize{PointerCount: 1})
	if err != nil {
		return err
	}
	response, err := capnp.NewStruct(results.Segment(), capnp.ObjectSize{DataSize: 8, PointerCount: 1})
	if err != nil {
		return err
	}
	if err := results.SetPtr(0, response.ToPtr()); err != nil {
		return err
	}
	r.e.mu.Lock()
	refusal := r.e.refusal
	r.e.mu.Unlock()
	if refusal != "" {
		failure, err := capnp.NewStruct(results.Segment(), capnp.ObjectSize{DataSize: 16, PointerCount: 1})
		if err != nil {
			return err
		}
		if err := failure.SetNewText(0, refusal); err != nil {
			return err
		}
		response.SetUint16(0, 0)
		return response.SetPtr(0, failure.ToPtr())
	}
	details, err := capnp.NewStruct(results.Segment(), capnp.ObjectSize{DataSize: 8, PointerCount: 2})
	if err != nil {
		return err
	}
	uuid := make([]byte, 16)
	_, _ = rand.Read(uuid)
	if err := errors.Join(details.SetData(0, uuid), details.SetNewText(1, "FAKE01")); err != nil {
		return err
	}
	response.SetUint16(0, 1)
	if err := response.SetPtr(0, details.ToPtr()); err != nil {
		return err
	}
	r.e.mu.Lock()
	r.e.last = r.down
	r.e.mu.Unlock()
	select {
	case r.e.came <- struct{}{}:
	default:
	}
	return nil
}

// RoundTrip sends a visitor's request down the tunnel, so that the edge is what a client reaches public URLs by.
func (e *edge) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	d := e.last
	e.mu.Unlock()
	if d == nil {
		return nil, errors.New("no tunnel is registered")
	}
	req = req.Clone(req.Context())
	req.Header.Set("Cf-Connecting-Ip", "203.0.113.9")
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	req.Header.Set("X-Forwarded-Proto", "https")
	resp, err := d.client.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// The origin's header comes as pairs of base64 in one line.
	for pair := range strings.SplitSeq(resp.Header.Get("Cf-Cloudflared-Response-Headers"), ";") {
		name, value, ok := strings.Cut(pair, ":")
		n, err1 := base64.RawStdEncoding.DecodeString(name)
		v, err2 := base64.RawStdEncoding.DecodeString(value)
		if ok && err1 == nil && err2 == nil {
			resp.Header.Add(string(n), string(v))
		}
	}
	return resp, nil
}
