package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/bench/report"
)

// measured is a table of three rounds: one ceiling for all, one for embedded NATS only.
func measured() *report.Table {
	rows := map[string]*report.Row{}
	t := &report.Table{Title: "256 B"}
	for _, r := range []*report.Row{
		{Subject: "plain", Ceiling: true},
		{Subject: "store, embedded", Ceiling: true, NATS: "embedded"},
		{Subject: "mine, embedded", NATS: "embedded"},
		{Subject: "mine, external", NATS: "external"},
	} {
		rows[r.Subject] = r
		t.Rows = append(t.Rows, r)
	}
	for _, round := range []map[string]float64{
		{"plain": 50_000, "store, embedded": 40_000, "mine, embedded": 20_000, "mine, external": 10_000},
		{"plain": 60_000, "store, embedded": 90_000, "mine, embedded": 45_000, "mine, external": 30_000},
		{"plain": 10_000, "store, embedded": 20_000, "mine, embedded": 9_000, "mine, external": 1_000},
	} {
		for subject, x := range round {
			rows[subject].Add([]report.Value{{Name: "rate", Unit: "1/s", X: x}})
		}
	}
	return t
}

func TestRatioIsOfTheLowestCeilingOfTheSameRound(t *testing.T) {
	table := measured()
	table.Ratio("share", "rate")
	for subject, want := range map[string][]float64{
		"mine, embedded": {0.5, 0.75, 0.9},
		"mine, external": {0.2, 0.5, 0.1}, // the embedded store is no ceiling for it
	} {
		share := table.Row(subject).Metric("share")
		if diff := cmp.Diff(want, share.Rounds); diff != "" {
			t.Errorf("%s, share in each round (-want +got):\n%s", subject, diff)
		}
	}
	share := table.Row("mine, embedded").Metric("share")
	if share.Median != 0.75 || share.Min != 0.5 || share.Max != 0.9 {
		t.Errorf("median %v, least %v, most %v", share.Median, share.Min, share.Max)
	}
	if m := table.Row("plain").Metric("share"); m != nil {
		t.Errorf("a ceiling has a share: %v", m)
	}
}

func TestTextIsAligned(t *testing.T) {
	table := measured()
	table.Ratio("share", "rate")
	bench := &report.Bench{Name: "ingest", About: "what it is", Tables: []*report.Table{table}}
	bench.AtLeast("share", table.Row("mine, embedded").Metric("share"), 0.7)
	bench.AtMost("rate", table.Row("mine, embedded").Metric("rate"), 12)
	bench.AtMost("never measured", nil, 1)
	r := &report.Report{Environment: report.Environment{OS: "linux/amd64", Cores: 2}, Benches: []*report.Bench{bench}}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(text.String(), "\n")
	want := `
ingest: what it is

  256 B                      plain                  store                   mine                   mine
                         (ceiling)               embedded               embedded               external
                                                (ceiling)
  -----------------------------------------------------------------------------------------------------
  rate, 1/s   50.0k (10.0k..60.0k)   40.0k (20.0k..90.0k)   20.0k (9.00k..45.0k)   10.0k (1.00k..30.0k)
  share                          -                      -      0.75 (0.50..0.90)      0.20 (0.10..0.50)

  aim (on two cores)             wanted      is
  -------------------------------------------------------
  share                   at least 0.70    0.75   reached
  rate                 at most 12.0 1/s   20.0k    missed
`
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestJSONReadsBack(t *testing.T) {
	want := &report.Report{Benches: []*report.Bench{{Name: "ingest", Tables: []*report.Table{measured()}}}}
	var b bytes.Buffer
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got *report.Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
