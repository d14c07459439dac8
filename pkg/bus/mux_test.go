package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestParseAck(t *testing.T) {
	for data, want := range map[string]Ack{
		`{"stream":"KV_waits","seq":12}`:                                   {Seq: 12},
		`{"stream":"KV_waits", "seq":18446744073709551615}`:                {Seq: 18446744073709551615},
		`{"stream":"S","seq":12,"duplicate": true}`:                        {Seq: 12, Duplicate: true},
		`{"stream":"S","domain":"hub","seq":3}`:                            {Seq: 3},
		`{"seq":4,"stream":"S"}`:                                           {Seq: 4},
		`{"stream":"S","seq":12, "duplicate": false}`:                      {Seq: 12},
		`{"stream":"S", "seq": 7 ,"batch":"b","count":1}`:                  {Seq: 7},
		`{"type":"io.nats.jetstream.api.v1.pub_ack","stream":"S","seq":9}`: {Seq: 9},
	} {
		got, err := parseAck(&nats.Msg{Data: []byte(data)})
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", data, got, err)
		}
	}
	for _, data := range []string{``, `{}`, `x`, `{"stream":"S"}`, `{"stream":"S","seq":0}`, `{"seq":5}`, `{"stream":"S","seq":-5}`} {
		if a, err := parseAck(&nats.Msg{Data: []byte(data)}); err == nil {
			t.Errorf("%s: %+v", data, a)
		}
	}
	_, err := parseAck(&nats.Msg{Data: []byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}`)})
	if !isAPI(err, codeWrongLast) {
		t.Errorf("got %v", err)
	}
	_, err = parseAck(&nats.Msg{Header: nats.Header{"Status": {"503"}}})
	if !errors.Is(err, errNoStream) {
		t.Errorf("got %v", err)
	}
}

// Whatever answers: an acknowledgement is only taken from a text that says where the message was stored.
func FuzzParseAck(f *testing.F) {
	f.Add([]byte(`{"stream":"KV_waits","seq":12}`))
	f.Add([]byte(`{"stream":"S","seq":12,"duplicate": true}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := parseAck(&nats.Msg{Data: data}); err == nil && a.Seq == 0 {
			t.Errorf("%q is taken for an acknowledgement: %+v", data, a)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add("0_1")
	f.Add("zz_zzzzz")
	f.Fuzz(func(t *testing.T, token string) {
		if n, _, ok := parseReply(token); ok && n < 0 {
			t.Errorf("%q gives slot %d", token, n)
		}
	})
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{1: "1s", time.Second: "1s", time.Second + 1: "2s", 72 * time.Hour: "259200s"} {
		if got := seconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
