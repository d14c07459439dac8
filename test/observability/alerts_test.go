package observability_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// alertCases say for each alert which series, a sample a minute for half an hour, set it off, and which do not.
var alertCases = map[string]struct{ fires, quiet []string }{
	"SwitchbackDown": {
		fires: []string{`up{job="switchback",service="runner",instance="a"} 1x29 0`},
		quiet: []string{`up{job="switchback",service="runner",instance="a"} 1x30`, `up{job="other",instance="a"} 0x30`},
	},
	"SwitchbackNoRunner": {
		fires: []string{`switchback_nats_connected{service="listener"} 1x30`},
		quiet: []string{`switchback_runner_active 0x30`},
	},
	"SwitchbackNATSLost": {
		fires: []string{`switchback_nats_connected{service="runner"} 1x29 0`},
		quiet: []string{`switchback_nats_connected{service="runner"} 1x30`},
	},
	"SwitchbackPublishFailures": {
		fires: []string{`switchback_nats_publish_failures_total{instance="a",reason="unavailable"} 0x28 1x2`},
		quiet: []string{`switchback_nats_publish_failures_total{instance="a",reason="unavailable"} 7x30`},
	},
	"SwitchbackCallbacksRefused": {
		fires: []string{`switchback_listener_requests_total{listener="l",endpoint="/e",verdict="unavailable"} 0x20 1+1x10`},
		quiet: []string{
			`switchback_listener_requests_total{listener="l",endpoint="/e",verdict="unavailable"} 3x30`,
			`switchback_listener_requests_total{listener="l",endpoint="/e",verdict="invalid"} 0+1x30`,
		},
	},
	"SwitchbackSignaturesRefused": {
		fires: []string{`switchback_listener_requests_total{listener="l",endpoint="/e",verdict="unauthorized"} 0+1x30`},
		quiet: []string{
			`switchback_listener_requests_total{listener="l",endpoint="/e",verdict="unauthorized"} 0x20 1x10`,
			`switchback_listener_requests_total{listener="l",endpoint="",verdict="unauthorized"} 0+9x30`,
		},
	},
	"SwitchbackPublishSlow": {
		fires: []string{
			`switchback_listener_publish_seconds_bucket{listener="l",le="1"} 0x30`, `switchback_listener_publish_seconds_bucket{listener="l",le="5"} 0+5x30`,
			`switchback_listener_publish_seconds_bucket{listener="l",le="+Inf"} 0+5x30`,
		},
		quiet: []string{
			`switchback_listener_publish_seconds_bucket{listener="l",le="0.1"} 0+5x30`, `switchback_listener_publish_seconds_bucket{listener="l",le="5"} 0+5x30`,
			`switchback_listener_publish_seconds_bucket{listener="l",le="+Inf"} 0+5x30`,
		},
	},
	"SwitchbackBacklog": {
		fires: []string{
			`switchback_jetstream_consumer_oldest_pending_seconds{instance="a",stream="RUNS",consumer="runner"} 0x20 60+60x10`,
			`switchback_jetstream_consumer_oldest_pending_seconds{instance="b",stream="RUNS",consumer="runner"} 0x20 60+60x10`,
		},
		quiet: []string{`switchback_jetstream_consumer_oldest_pending_seconds{stream="RUNS",consumer="runner"} 30x30`},
	},
	"SwitchbackOrphans": {
		fires: []string{`switchback_runner_callbacks_total{instance="a",fate="orphan"} 0x20 1x10`},
		quiet: []string{`switchback_runner_callbacks_total{instance="a",fate="orphan"} 5x30`, `switchback_runner_callbacks_total{instance="a",fate="matched"} 0+9x30`},
	},
	"SwitchbackWaitsTimedOut": {
		fires: []string{`switchback_runner_wait_timeouts_total{instance="a"} 0x20 1x10`},
		quiet: []string{`switchback_runner_wait_timeouts_total{instance="a"} 5x30`},
	},
	"SwitchbackDeadlinesLate": {
		fires: []string{
			`switchback_runner_timeout_delay_seconds_bucket{le="60"} 0x30`, `switchback_runner_timeout_delay_seconds_bucket{le="300"} 0+1x30`,
			`switchback_runner_timeout_delay_seconds_bucket{le="+Inf"} 0+1x30`,
		},
		quiet: []string{
			`switchback_runner_timeout_delay_seconds_bucket{le="0.1"} 0+1x30`, `switchback_runner_timeout_delay_seconds_bucket{le="300"} 0+1x30`,
			`switchback_runner_timeout_delay_seconds_bucket{le="+Inf"} 0+1x30`,
		},
	},
	"SwitchbackDeadLetters": {
		fires: []string{`switchback_jetstream_stream_messages{stream="DEAD"} 0x20 1x10`, `switchback_runner_dead_letters_total{kind="callback"} 0x20 1x10`},
		quiet: []string{`switchback_jetstream_stream_messages{stream="DEAD"} 4x30`, `switchback_runner_dead_letters_total{kind="callback"} 4x30`},
	},
	"SwitchbackRunsFail": {
		fires: []string{`switchback_runner_runs_ended_total{workflow="w",status="failed"} 0+1x30`, `switchback_runner_runs_ended_total{workflow="w",status="completed"} 0+4x30`},
		quiet: []string{`switchback_runner_runs_ended_total{workflow="w",status="failed"} 0+1x30`, `switchback_runner_runs_ended_total{workflow="w",status="completed"} 0+40x30`},
	},
	"SwitchbackTunnelDown": {
		// Of two holders one waits for the other, which is down.
		fires: []string{
			`switchback_gateway_state{instance="a",gateway="g",port="8090",driver="ssh",state="reconnecting"} 1x30`,
			`switchback_gateway_state{instance="b",gateway="g",port="8090",driver="ssh",state="standby"} 1x30`,
		},
		quiet: []string{
			`switchback_gateway_state{instance="a",gateway="g",port="8090",driver="ssh",state="up"} 1x30`,
			`switchback_gateway_state{instance="b",gateway="g",port="8090",driver="ssh",state="standby"} 1x30`,
			`switchback_gateway_state{instance="c",gateway="g",port="8090",driver="ssh",state="starting"} 1x30`,
		},
	},
	"SwitchbackTracesLost": {
		fires: []string{`switchback_trace_spans_total{instance="a",result="failed"} 0x20 5x10`},
		quiet: []string{`switchback_trace_spans_total{instance="a",result="failed"} 5x30`, `switchback_trace_spans_total{instance="a",result="exported"} 0+9x30`},
	},
}

// Each alert is set off by what it is for, and once, not by each replica; and is quiet while all is well.
func TestAlertsAreSetOffByWhatTheyAreFor(t *testing.T) {
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 1e6, Timeout: patience, Parser: parser.NewParser(parser.Options{}),
	})
	firing := func(t *testing.T, expr string, series []string) int {
		t.Helper()
		storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.Join(series, "\n  "))
		defer storage.Close()
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, expr, time.Unix(0, 0).Add(30*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		result := q.Exec(t.Context())
		v, err := result.Vector()
		if err != nil {
			t.Fatal(err)
		}
		return len(v)
	}
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		c, ok := alertCases[a.Alert]
		if !ok {
			t.Errorf("%s has no case", a.Alert)
			continue
		}
		if n := firing(t, a.Expr, c.fires); n != 1 {
			t.Errorf("%s fires %d times, want once", a.Alert, n)
		}
		if n := firing(t, a.Expr, c.quiet); n != 0 {
			t.Errorf("%s fires %d times while all is well", a.Alert, n)
		}
	}
	for name := range alertCases {
		if !slices.Contains(names, name) {
			t.Errorf("there is no alert %s", name)
		}
	}
}
