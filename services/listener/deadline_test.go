package listener_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/services/listener"
)

// counted counts how often a deadline reaches the socket.
type counted struct {
	net.Conn
	sets int
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.sets++
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.sets++
	return c.Conn.SetWriteDeadline(t)
}

// TestDeadlines: a deadline holds to the moment, however seldom the socket is told of it.
func TestDeadlines(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		puts []time.Duration // a second after the other, each from its own now on; 0 for none
		ends time.Duration   // after the last put
		sets int
	}{
		"one":                     {[]time.Duration{10 * s}, 10 * s, 1},
		"put off":                 {[]time.Duration{10 * s, 10 * s, 10 * s}, 10 * s, 2}, // the second when the first has passed
		"put off far":             {[]time.Duration{10 * s, 75 * s}, 75 * s, 2},
		"brought forward":         {[]time.Duration{75 * s, 10 * s}, 10 * s, 2},
		"forward, off, back":      {[]time.Duration{75 * s, 10 * s, 30 * s, 75 * s, 10 * s}, 10 * s, 3},
		"taken away":              {[]time.Duration{10 * s, 0}, 0, 2},
		"taken away, given again": {[]time.Duration{10 * s, 0, 10 * s}, 10 * s, 3},
		"over":                    {[]time.Duration{10 * s, -s}, 0, 2},
	} {
		for way, end := range map[string]func(net.Conn) (int, error){
			"read":  func(c net.Conn) (int, error) { return c.Read(make([]byte, 3)) },
			"write": func(c net.Conn) (int, error) { return c.Write([]byte("abc")) },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					under := &counted{Conn: near}
					ours := listener.NewConn(under)
					put := ours.SetReadDeadline
					if way == "write" {
						put = ours.SetWriteDeadline
					}
					for i, d := range c.puts {
						if i > 0 {
							time.Sleep(s) //nolint:forbidigo // of the bubble's clock
						}
						at := time.Time{}
						if d != 0 {
							at = time.Now().Add(d)
						}
						if err := put(at); err != nil {
							t.Fatal(err)
						}
					}
					began := time.Now()
					if c.puts[len(c.puts)-1] == 0 {
						time.AfterFunc(time.Hour, func() { _ = far.Close() })
						if _, err := end(ours); errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
							t.Errorf("without a deadline: %v after %v", err, time.Since(began))
						}
					} else if _, err := end(ours); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != c.ends {
						t.Errorf("%v after %v, want the deadline after %v", err, time.Since(began), c.ends)
					}
					if under.sets != c.sets {
						t.Errorf("the socket was told %d times, want %d", under.sets, c.sets)
					}
				})
			})
		}
	}
}

// TestWriteGoesOn: what the other side has taken when a socket's deadline passes early is not sent again.
func TestWriteGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := listener.NewConn(near)
		if err := errors.Join(c.SetDeadline(time.Now().Add(time.Second)), c.SetDeadline(time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		go func() {
			if n, err := c.Write([]byte("abcdef")); n != 6 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			_ = c.Close()
		}()
		first := make([]byte, 2)
		if _, err := io.ReadFull(far, first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) //nolint:forbidigo // of the bubble's clock
		rest, err := io.ReadAll(far)
		if got := string(first) + string(rest); got != "abcdef" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}
