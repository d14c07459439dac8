package bustest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// Nodes are the servers of one cluster, in this process, connected by TCP.
type Nodes struct {
	t       testing.TB
	Servers []*Server
}

// Cluster starts n servers as one JetStream cluster; the test's end stops them.
func Cluster(t testing.TB, n int) *Nodes {
	t.Helper()
	c := &Nodes{t: t}
	ports := freePorts(t, n)
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	for i := range n {
		s := &Server{t: t, opts: &server.Options{
			ServerName: fmt.Sprintf("node%d", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
			Routes:  routes,
		}}
		s.start()
		t.Cleanup(s.Stop)
		c.Servers = append(c.Servers, s)
	}
	c.AwaitReady()
	return c
}

// freePorts gives ports that were free a moment ago: the nodes have to know each other's before they start. The kernel gives
// out none of that range: a port of its choice may be another server's, or a connection's, by the time that it is used.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for try := 0; len(ports) < n; try++ {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if try > 100 {
				t.Fatalf("find a free port: %v", err)
			}
			continue
		}
		defer func() { _ = l.Close() }() // until all are found: they differ
		ports = append(ports, port)
	}
	return ports
}

// AwaitReady waits until all running nodes know each other and have a leader.
func (c *Nodes) AwaitReady() {
	c.t.Helper()
	Eventually(c.t, "the cluster is ready", c.ready)
}

func (c *Nodes) ready() bool {
	running := 0
	var leader *server.Server
	for _, s := range c.Servers {
		if !s.srv.Running() {
			continue
		}
		running++
		if s.srv.JetStreamIsLeader() {
			leader = s.srv
		}
		if !s.srv.JetStreamIsCurrent() {
			return false
		}
	}
	// The leader places streams only on those that it has heard of.
	return leader != nil && len(leader.JetStreamClusterPeers()) >= running
}

// URL lists all nodes.
func (c *Nodes) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Connect connects to node i alone; the test's end closes the bus.
func (c *Nodes) Connect(i int) *bus.Bus {
	c.t.Helper()
	return c.Servers[i].Connect()
}

// Provisioned connects to the first node and lays out the streams with as many replicas as there are nodes.
func (c *Nodes) Provisioned(l bus.Layout) *bus.Bus {
	c.t.Helper()
	l.Replicas = len(c.Servers)
	return c.Servers[0].Provisioned(l)
}

// Leader gives the index of the node that leads a stream of the default account, or -1.
func (c *Nodes) Leader(stream string) int {
	for i, s := range c.Servers {
		if s.srv.Running() && s.srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return i
		}
	}
	return -1
}

// AwaitCopies waits until every node has stored all that any has of a stream: what is read from any copy is up to date then.
func (c *Nodes) AwaitCopies(stream string) {
	c.t.Helper()
	Eventually(c.t, "all copies of "+stream+" are the same", func() bool {
		last := map[uint64]bool{}
		for _, s := range c.Servers {
			js, err := s.srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
			if err != nil {
				return false
			}
			for _, account := range js.AccountDetails {
				for _, st := range account.Streams {
					if st.Name == stream {
						last[st.State.LastSeq] = true
					}
				}
			}
		}
		return len(last) == 1
	})
}
