package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// answerTime bounds the wait for one answer.
const answerTime = 30 * time.Second

// idDigits is how wide the number in an id is, so that all requests of a load have one size.
const idDigits = 12

// poster posts the same body with another number each time, over a connection of its own. The request is
// written as it stands, for the generator shares the machine with what is measured.
type poster struct {
	address string
	request []byte
	digits  int // where the number is in request
	status  int
	read    func(body []byte) (time.Duration, error)

	conn     net.Conn
	buffered *bufio.Reader
	response fasthttp.Response
}

// newPoster makes a poster. The body holds idDigits zeros at digits.
func newPoster(address, path string, body []byte, digits, status int, read func([]byte) (time.Duration, error)) *poster {
	head := "POST " + path + " HTTP/1.1\r\nHost: " + address +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return &poster{
		address: address, request: append([]byte(head), body...), digits: len(head) + digits,
		status: status, read: read,
	}
}

func (p *poster) do(ctx context.Context, n int64) (tail time.Duration, err error) {
	if p.conn == nil {
		dialer := net.Dialer{Timeout: answerTime}
		if p.conn, err = dialer.DialContext(ctx, "tcp", p.address); err != nil {
			return 0, err
		}
		p.buffered = bufio.NewReader(p.conn)
	}
	putNumber(p.request[p.digits:p.digits+idDigits], n)
	if tail, err = p.exchange(); err != nil {
		return 0, errors.Join(err, p.close())
	}
	return tail, nil
}

func (p *poster) exchange() (time.Duration, error) {
	if err := p.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return 0, err
	}
	if _, err := p.conn.Write(p.request); err != nil {
		return 0, err
	}
	if err := p.response.Read(p.buffered); err != nil {
		return 0, err
	}
	if got := p.response.StatusCode(); got != p.status {
		return 0, fmt.Errorf("answered %d, not %d: %s", got, p.status, p.response.Body())
	}
	if p.read == nil {
		return 0, nil
	}
	return p.read(p.response.Body())
}

func (p *poster) close() error {
	if p.conn == nil {
		return nil
	}
	err := p.conn.Close()
	p.conn = nil
	return err
}

// putNumber writes n, with leading zeros, all over digits.
func putNumber(digits []byte, n int64) {
	for i := range slices.Backward(digits) {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
}
