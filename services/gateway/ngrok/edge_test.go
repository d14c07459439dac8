package ngrok_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.ngrok.com/muxado/v2"
)

// edge speaks ngrok's wire protocol to the genuine library: TLS, muxado, and one JSON request and answer for each typed stream.
type edge struct {
	addr string
	ca   []byte

	mu       sync.Mutex
	token    string                // the good one
	refuse   string                // error of binds
	name     func(bind int) string // host name of the n-th bind
	binds    int
	auths    int
	sessions map[muxado.TypedStreamSession]net.Conn
	bound    map[string]muxado.TypedStreamSession // by host name
	ids      map[string]string                    // of the binds, likewise
	l        net.Listener
	work     sync.WaitGroup
}

const (
	authReq    = 0
	bindReq    = 1
	unbindReq  = 2
	proxyReq   = 3
	srvInfoReq = 8
)

func startEdge(t *testing.T) *edge {
	t.Helper()
	cert, ca := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{
		addr: l.Addr().String(), ca: ca, token: "good-token", l: l, name: func(int) string { return "fixed.ngrok.test" },
		sessions: map[muxado.TypedStreamSession]net.Conn{}, bound: map[string]muxado.TypedStreamSession{}, ids: map[string]string{},
	}
	e.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.work.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		e.drop()
		e.work.Wait()
	})
	return e
}

func (e *edge) serve(c net.Conn) {
	typed := muxado.NewTypedStreamSession(muxado.Server(c, nil))
	session := muxado.NewHeartbeat(typed, func(time.Duration, bool) {}, nil)
	e.mu.Lock()
	e.sessions[session] = c
	e.mu.Unlock()
	defer func() {
		_ = c.Close()
		_ = typed.Close()
		e.mu.Lock()
		delete(e.sessions, session)
		e.mu.Unlock()
	}()
	for {
		stream, err := session.AcceptTypedStream()
		if err != nil {
			return
		}
		e.work.Go(func() { e.answer(session, stream) })
	}
}

func (e *edge) answer(session muxado.TypedStreamSession, stream muxado.TypedStream) {
	defer func() { _ = stream.Close() }()
	var request struct {
		ID    string `json:"Id"`
		Proto string
		Opts  map[string]any
		Extra struct{ Authtoken string }
	}
	if json.NewDecoder(stream).Decode(&request) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var answer any = map[string]any{}
	switch stream.StreamType() {
	case authReq:
		e.auths++
		if request.Extra.Authtoken != e.token {
			answer = map[string]any{"Error": "The authtoken you specified is not valid.\nYour authtoken: " + request.Extra.Authtoken + "\n\nERR_NGROK_105"}
			break
		}
		answer = map[string]any{"Version": "3", "ClientId": "client", "Extra": map[string]any{"Version": "3", "Region": "test"}}
	case bindReq:
		e.binds++
		if e.refuse != "" {
			answer = map[string]any{"Error": e.refuse}
			break
		}
		name := e.name(e.binds)
		if wanted, _ := request.Opts["URL"].(string); strings.TrimPrefix(wanted, "https://") != "" {
			name = strings.TrimPrefix(wanted, "https://")
		}
		e.bound[name] = session
		id := request.ID
		if id == "" {
			id = fmt.Sprintf("bind-%d", e.binds)
		}
		answer = map[string]any{"Id": id, "URL": "https://" + name, "Proto": request.Proto, "Opts": request.Opts, "Extra": map[string]any{"Token": "t"}}
		e.ids[name] = id
	case srvInfoReq:
		answer = map[string]any{"Region": "test"}
	case unbindReq:
	default:
		return
	}
	_ = json.NewEncoder(stream).Encode(answer)
}

// drop ends all sessions' connections.
func (e *edge) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.sessions {
		_ = c.Close()
	}
}

func (e *edge) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// RoundTrip is a visitor: the request goes through the edge to the endpoint of its host name.
func (e *edge) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	session, id := e.bound[r.URL.Hostname()], e.ids[r.URL.Hostname()]
	e.mu.Unlock()
	if session == nil {
		return &http.Response{StatusCode: http.StatusNotFound, Status: "404 Not Found", Body: http.NoBody, Request: r}, nil
	}
	stream, err := session.OpenTypedStream(proxyReq)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	header, err := json.Marshal(map[string]string{"Id": id, "ClientAddr": "203.0.113.9:4711", "Proto": "https", "EdgeType": "1"})
	if err != nil {
		return nil, err
	}
	if err := binary.Write(stream, binary.LittleEndian, int64(len(header))); err != nil {
		return nil, err
	}
	if _, err := stream.Write(header); err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Header.Set("X-Forwarded-For", "203.0.113.9")
	out.Header.Set("X-Forwarded-Proto", "https")
	out.Close = true
	dump, err := httputil.DumpRequestOut(out, true)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(dump); err != nil {
		return nil, err
	}
	all, err := io.ReadAll(stream)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	return readResponse(all, r)
}

func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
