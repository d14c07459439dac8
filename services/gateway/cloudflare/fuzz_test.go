package cloudflare

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzLog(f *testing.F) {
	f.Add("{\"level\":\"info\",\"message\":\"Starting metrics server on 127.0.0.1:46043/metrics\"}\n{\"level\":\"error\",\"message\":\"x\",\"error\":\"y\"}\nplain")
	f.Add("Starting metrics server on 8.8.8.8:1/metrics\n" + strings.Repeat("x", 20000))
	f.Fuzz(func(t *testing.T, said string) {
		l := newChildLog(make(chan error, 1))
		l.read(strings.NewReader(said))
		if a := l.metricsAddr(); a != "" && !loopback(a) {
			t.Errorf("metrics at %q", a)
		}
		all := l.lastErrors()
		for _, e := range all {
			if !utf8.ValidString(e) || strings.ContainsAny(e, "\n\x1b") || len(e) > maxShown+len("…") {
				t.Errorf("kept %q", e)
			}
		}
		if e := explainExit(1, all); len(all) > keepLines || e.Class == "" || e.Message == "" {
			t.Errorf("%d lines, %+v", len(all), e)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"hostname":"fake-quick.trycloudflare.test"}`))
	f.Add([]byte(`{"config":{"ingress":[{"hostname":"a.example"}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, host := range []string{parseQuick(body), parseIngress(body)} {
			if strings.ContainsAny(host, "/:@ \n") {
				t.Errorf("%q gives %q", body, host)
			}
		}
		parseNote(string(body))
	})
}

func TestParseQuick(t *testing.T) {
	for body, want := range map[string]string{
		`{"hostname":"fake-quick.trycloudflare.test"}`: "fake-quick.trycloudflare.test",
		`{"hostname":""}`: "", `{"hostname":"x/y.z"}`: "", `{"hostname":"10.0.0.1"}`: "", `no`: "",
	} {
		if got := parseQuick([]byte(body)); got != want {
			t.Errorf("%s gives %q, want %q", body, got, want)
		}
	}
}
