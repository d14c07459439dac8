package fetch

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFetch(t *testing.T) {
	var elsewhere int
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			_, _ = w.Write([]byte("the keys"))
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, maxSize+1))
		case "/full":
			_, _ = w.Write(make([]byte, maxSize))
		default:
			http.Error(w, "no", http.StatusNotFound)
		}
	}))
	defer server.Close()
	c := New(server.Client().Transport)
	defer c.Close()

	tests := []struct {
		address, body, err string
		size               int
	}{
		{address: server.URL + "/keys", body: "the keys"},
		{address: server.URL + "/full", size: maxSize},
		{address: server.URL + "/large", err: "more than"},
		{address: server.URL + "/redirect", err: "302"},
		{address: server.URL + "/none", err: "404"},
		{address: strings.Replace(server.URL, "https", "http", 1) + "/keys", err: "only https"},
		{address: "file:///etc/passwd", err: "only https"},
		{address: "https://[::1", err: "address"},
		{address: "https://127.0.0.1:1/?token=hush", err: "fetching from 127.0.0.1:1"},
	}
	for _, test := range tests {
		body, err := c.Fetch(t.Context(), test.address)
		switch {
		case test.err == "" && err != nil:
			t.Errorf("%s: %v", test.address, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: got error %v, want %q", test.address, err, test.err)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("the error shows the query: %v", err)
		case test.body != "" && string(body) != test.body, test.size != 0 && len(body) != test.size:
			t.Errorf("%s: got %d bytes", test.address, len(body))
		}
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}
