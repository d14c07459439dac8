// Package ngroktest is an edge of ngrok's for tests: it speaks the wire protocol to the genuine library.
package ngroktest

import (
	"bufio"
	"bytes"
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

// Edge speaks TLS, muxado, and one JSON request and answer for each typed stream. It is a http.RoundTripper for visitors.
type Edge struct {
	Addr string
	CA   []byte // PEM

	mu       sync.Mutex
	refuse   string // error of binds
	binds    int
	auths    int
	sessions map[muxado.TypedStreamSession]net.Conn
	bound    map[string]muxado.TypedStreamSession // by host name
	ids      map[string]string                    // of the binds, likewise
	l        net.Listener
	work     sync.WaitGroup
}

// Token is the good one, Host the name of those who want none, and Visitor who comes in by them.
const (
	Token   = "good-token"
	Host    = "fixed.ngrok.test"
	Visitor = "203.0.113.9"
)

const (
	authReq    = 0
	bindReq    = 1
	unbindReq  = 2
	proxyReq   = 3
	srvInfoReq = 8
)

// Start starts an edge on a port of 127.0.0.1.
func Start(t testing.TB) *Edge {
	t.Helper()
	cert, ca := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	e := &Edge{
		Addr: l.Addr().String(), CA: ca, l: l,
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
		e.Drop()
		e.work.Wait()
	})
	return e
}

func (e *Edge) serve(c net.Conn) {
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

func (e *Edge) answer(session muxado.TypedStreamSession, stream muxado.TypedStream) {
	defer func() { _ = stream.Close() }()
	var request struct {
		ID    string         `json:"Id"`
		Proto string         `json:"Proto"`
		Opts  map[string]any `json:"Opts"`
		Extra struct {
			Authtoken string `json:"Authtoken"`
		} `json:"Extra"`
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
		if request.Extra.Authtoken != Token {
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
		name := Host
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
	data, err := json.Marshal(answer)
	if err == nil {
		_, _ = stream.Write(data) // a client that has gone asks no more
	}
}

// Drop ends all sessions' connections.
func (e *Edge) Drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.sessions {
		_ = c.Close()
	}
}

// Refuse makes it answer binds with an error from now on.
func (e *Edge) Refuse(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse = why
}

// Asked tells how often it was asked to let somebody in, and to bind.
func (e *Edge) Asked() (auths, binds int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.auths, e.binds
}

// RoundTrip is a visitor: the request goes through the edge to the endpoint of its host name.
func (e *Edge) RoundTrip(r *http.Request) (*http.Response, error) {
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
	header, err := json.Marshal(map[string]string{"Id": id, "ClientAddr": Visitor + ":4711", "Proto": "https", "EdgeType": "1"})
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
	out.Header.Set("X-Forwarded-For", Visitor)
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
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), r)
}

func certificate(t testing.TB) (tls.Certificate, []byte) {
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
