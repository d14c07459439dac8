package listener_test

import (
	"bytes"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/services/listener"
)

// BenchmarkCallback is a callback from the socket to JetStream and back, recorded as by default, 64 at once, with the server in a
// process of its own. What it allocates is the listener's and nats.go's: go test -run ^$ -bench Callback -benchmem ./services/listener.
func BenchmarkCallback(b *testing.B) {
	store := bustest.StartProcess(b).Provisioned(bus.Layout{})
	s := start(b, mapped, store, listener.Config{}, quietly)
	request := mappedRequest()
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := s.raw()
		defer func() { _ = c.Close() }()
		answer := make([]byte, 4096)
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			for n := 0; !bytes.HasSuffix(answer[:n], []byte("]}")); {
				m, err := c.Read(answer[n:])
				if err != nil {
					b.Error(err)
					return
				}
				n += m
			}
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
				b.Errorf("%s", answer)
				return
			}
		}
	})
}
