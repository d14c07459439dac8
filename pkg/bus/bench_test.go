package bus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// BenchmarkPublish compares this bus with nats.go: each goroutine publishes a callback of 256 bytes and waits until it is stored.
func BenchmarkPublish(b *testing.B) {
	s := bustest.Start(b)
	client := s.Provisioned(bus.Layout{})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1<<14))
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 256)
	for i := range payload {
		payload[i] = ' '
	}
	message := func(id string) *nats.Msg {
		return &nats.Msg{Subject: subject.Callback(id), Data: payload, Header: nats.Header{"Nats-TTL": {"259200s"}, "Nats-Msg-Id": {id}}}
	}
	var n atomic.Int64
	for _, callers := range []int{1, 64, 256} {
		for name, publish := range map[string]func(ctx context.Context, id string) error{
			"bus": func(ctx context.Context, id string) error {
				_, err := client.PublishCallback(ctx, &event.Callback{ID: id, DeliveryID: id, Result: payload})
				return err
			},
			"js.PublishMsg": func(ctx context.Context, id string) error {
				_, err := js.PublishMsg(ctx, message(id))
				return err
			},
			"js.PublishMsgAsync": func(_ context.Context, id string) error {
				f, err := js.PublishMsgAsync(message(id))
				if err != nil {
					return err
				}
				select {
				case <-f.Ok():
					return nil
				case err := <-f.Err():
					return err
				}
			},
		} {
			b.Run(fmt.Sprintf("%d/%s", callers, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(max(1, callers/2)) // of 2 processors
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := publish(b.Context(), fmt.Sprintf("c%d", n.Add(1))); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// BenchmarkConsume takes and acknowledges messages that are there already, and gives those to a nats.go consumer for comparison.
func BenchmarkConsume(b *testing.B) {
	fill := func(b *testing.B, client *bus.Bus) {
		b.Helper()
		var next atomic.Int64
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := client.Publish(b.Context(), &bus.Message{Subject: subject.Callback(fmt.Sprint(next.Add(1)))}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("bus", func(b *testing.B) {
		client := bustest.Start(b).Provisioned(bus.Layout{})
		fill(b, client)
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		var done atomic.Int64
		b.ReportAllocs()
		b.ResetTimer()
		err := client.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner, MaxInFlight: 256},
			func(_ context.Context, d *bus.Delivery) {
				_ = d.Ack()
				if done.Add(1) == int64(b.N) {
					cancel()
				}
			})
		if err != nil {
			b.Error(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	})
	b.Run("nats.go", func(b *testing.B) {
		s := bustest.Start(b)
		client := s.Provisioned(bus.Layout{})
		fill(b, client)
		nc, err := nats.Connect(s.URL())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		c, err := js.Consumer(b.Context(), subject.StreamWaits, subject.ConsumerRunner)
		if err != nil {
			b.Fatal(err)
		}
		var done atomic.Int64
		all := make(chan struct{})
		b.ReportAllocs()
		b.ResetTimer()
		cc, err := c.Consume(func(m jetstream.Msg) {
			_ = m.Ack()
			if done.Add(1) == int64(b.N) {
				close(all)
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		<-all
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		cc.Stop()
	})
}

// BenchmarkRead measures the reads that a callback costs.
func BenchmarkRead(b *testing.B) {
	client := bustest.Start(b).Provisioned(bus.Layout{})
	for i := range 1000 {
		if _, err := client.Publish(b.Context(), &bus.Message{Subject: subject.Wait(fmt.Sprint(i)), Data: make([]byte, 200), ScheduleAt: time.Now().Add(time.Hour), ScheduleTarget: "timeout.x"}); err != nil {
			b.Fatal(err)
		}
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/2))
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.Last(b.Context(), subject.StreamWaits, subject.Wait(fmt.Sprint(n.Add(1)%1000))); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
