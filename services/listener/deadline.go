package listener

import (
	"errors"
	"os"
	"time"
)

// deadline is put off several times a request, and hardly ever passes. The socket's own is left where it is when it would
// only pass too early: then it is looked at again.
type deadline struct{ wanted, set time.Time }

func (d *deadline) put(t time.Time, set func(time.Time) error) error {
	d.wanted = t
	if !t.IsZero() && !d.set.IsZero() && !d.set.After(t) {
		return nil
	}
	d.set = t
	return set(t)
}

// early tells whether err is the socket's deadline that has passed before the wanted one, and sets that now.
func (d *deadline) early(err error, set func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(d.wanted) {
		return false
	}
	d.set = d.wanted
	return set(d.wanted) == nil
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.reading.put(t, c.Conn.SetReadDeadline) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.writing.put(t, c.Conn.SetWriteDeadline) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err == nil || n > 0 || !c.reading.early(err, c.Conn.SetReadDeadline) {
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	for sent := 0; ; {
		n, err := c.Conn.Write(b[sent:])
		sent += n
		if err == nil || !c.writing.early(err, c.Conn.SetWriteDeadline) {
			return sent, err
		}
	}
}
