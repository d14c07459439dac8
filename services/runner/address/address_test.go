package address_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/address"
)

func reference(t *testing.T, text string) *expr.Reference {
	t.Helper()
	tpl, problems := expr.Compile(text, expr.Rules{Sources: map[string]expr.Arg{
		"env": expr.NoArg, "gateway": expr.RequiredArg, "listener": expr.OptionalArg,
	}})
	if len(problems) > 0 {
		t.Fatalf("%s: %+v", text, problems)
	}
	return &tpl.References()[0]
}

func document() *compose.Document {
	return &compose.Document{
		Listeners: []*compose.Listener{
			{ID: "a", Type: compose.HTTPCallback, Host: "0.0.0.0", Port: 8090, BasePath: "/hooks", Callbacks: []*compose.Callback{{Path: "/hooks/done"}}},
			{ID: "b", Type: compose.HTTPCallback, Host: "10.0.0.1", Port: 8091, PublicURL: "https://b.example", Callbacks: []*compose.Callback{{Path: "/done"}}},
		},
		Gateways: []*compose.Gateway{{Driver: "ngrok", Ports: []compose.PortForward{{Local: 8091}, {Local: 8092}}}},
	}
}

func TestResolve(t *testing.T) {
	book := address.New(func(name string) (string, bool) { return "v", name == "SET" }, time.Minute, "")
	book.Set(event.GatewayStatus{Port: 8092, Status: event.GatewayUp, PublicURL: "https://up.example/", PublicAddress: "up.example:443"})
	r := book.For(document())
	for text, want := range map[string]any{
		"${env.SET}":                     "v",
		"${env.UNSET}":                   nil,
		"${gateway:8092.public_url}":     "https://up.example",
		"${gateway:8092.public_address}": "up.example:443",
		"${gateway:8092.port}":           int64(8092),
		"${gateway:8092.driver}":         "ngrok",
		"${gateway:8092.status}":         "up",
		"${gateway:8091.public_url}":     "https://b.example", // no gateway process knows of it, the listener has a public_url
		"${listener.url}":                "http://127.0.0.1:8090/hooks/done",
		"${listener.base_url}":           "http://127.0.0.1:8090",
		"${listener:b.url}":              "https://b.example/done",
		"${listener:b.id}":               "b",
	} {
		if got, err := r.Resolve(t.Context(), reference(t, text)); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestAGatewayThatIsNotUpIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := address.New(func(string) (string, bool) { return "", false }, time.Minute, "")
		if err := book.Update("8092", []byte(`{"status":"starting"}`), false); err != nil {
			t.Fatal(err)
		}
		r := book.For(document())
		time.AfterFunc(30*time.Second, func() {
			book.Set(event.GatewayStatus{Port: 8092, Status: event.GatewayUp, PublicURL: "https://now.example"})
		})
		began := time.Now()
		got, err := r.Resolve(t.Context(), reference(t, "${gateway:8092.public_url}"))
		if err != nil || got != "https://now.example" || time.Since(began) != 30*time.Second {
			t.Errorf("%v, %v after %s", got, err, time.Since(began))
		}

		book.Set(event.GatewayStatus{Port: 8092, Status: "failed", Error: "the token is wrong"})
		began = time.Now()
		got, err = r.Resolve(t.Context(), reference(t, "${gateway:8092.public_url}"))
		if err == nil || !strings.Contains(err.Error(), "the token is wrong") || time.Since(began) != time.Minute {
			t.Errorf("%v, %v after %s", got, err, time.Since(began))
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Resolve(ctx, reference(t, "${gateway:8092.public_url}")); err == nil {
			t.Error("the invocation's own limit does not hold")
		}
	})
}

func TestListenersBehindAProxy(t *testing.T) {
	book := address.New(func(string) (string, bool) { return "", false }, time.Minute, "proxy")
	book.Set(event.GatewayStatus{Port: 8092, Status: event.GatewayUp, PublicURL: "https://up.example/"})
	doc := document()
	doc.Listeners = append(doc.Listeners, &compose.Listener{ID: "c", Type: compose.HTTPCallback, Port: 8092, Callbacks: []*compose.Callback{{Path: "/done"}}})
	r := book.For(doc)
	for text, want := range map[string]string{
		"${listener:a.url}": "http://proxy:8090/hooks/done", // at the proxy's host, whatever the listener's own is
		"${listener:b.url}": "https://b.example/done",       // what the file says counts more
		"${listener:c.url}": "https://up.example/done",      // and so does a gateway
	} {
		if got, err := r.Resolve(t.Context(), reference(t, text)); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
}
