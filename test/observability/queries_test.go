package observability_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const folder = "../../deploy/observability/"

// query is a PromQL expression, and where it stands.
type query struct{ where, expr string }

// alerts reads the alert rules as Prometheus does.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(folder+"alerts.yml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), nil)
	for _, err := range errs {
		t.Error(err)
	}
	var all []rulefmt.Rule
	if groups != nil {
		for _, g := range groups.Groups {
			all = append(all, g.Rules...)
		}
	}
	if len(all) == 0 {
		t.Fatal("there is no alert")
	}
	return all
}

// dashboard gives the queries of the dashboard.
func dashboard(t *testing.T) []query {
	t.Helper()
	data, err := os.ReadFile(folder + "grafana/dashboards/switchback.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	var all []query
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q has the id of another", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")})
		}
	}
	if len(all) == 0 {
		t.Fatal("the dashboard asks for nothing")
	}
	return all
}

// given are metrics that Prometheus makes itself, and the labels that it adds to all.
var (
	givenMetrics = []string{"up"}
	givenLabels  = []string{"job", "instance", "service"}
	// unseen are values that a short test does not bring about, with the place in the code where they are from.
	unseen = map[string][]string{
		"state":  {"up", "standby"}, // services/gateway/tunnel
		"status": {"failed"},        // pkg/event
		"result": {"failed"},        // pkg/telemetry
	}
)

// Whatever the dashboard and the alerts ask for is exported, under this name, with these labels and these values.
func TestDashboardAndAlertsAskForWhatIsExported(t *testing.T) {
	have := scrape(t, services(t))
	queries := dashboard(t)
	for _, a := range alerts(t) {
		queries = append(queries, query{"alert " + a.Alert, a.Expr})
	}
	for _, q := range queries {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
			continue
		}
		parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				checkSelector(t, q, have, s, path)
			}
			return nil
		})
	}
}

func checkSelector(t *testing.T, q query, have metrics, s *parser.VectorSelector, path []parser.Node) {
	t.Helper()
	if slices.Contains(givenMetrics, s.Name) {
		return
	}
	e := have[s.Name]
	if e == nil {
		t.Errorf("%s: no service exports %s", q.where, s.Name)
		return
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel || slices.Contains(givenLabels, m.Name) {
			continue
		}
		values, ok := e.labels[m.Name]
		if !ok {
			t.Errorf("%s: %s has no label %s", q.where, s.Name, m.Name)
			continue
		}
		for _, v := range regexp.MustCompile(`\w+`).FindAllString(m.Value, -1) {
			if !values[v] && !slices.Contains(unseen[m.Name], v) {
				t.Errorf("%s: %s never has %s=%q", q.where, s.Name, m.Name, v)
			}
		}
	}
	counts, rated := e.kind == "COUNTER" || e.kind == "HISTOGRAM", false
	for _, p := range path {
		switch p := p.(type) {
		case *parser.AggregateExpr:
			for _, l := range p.Grouping {
				if _, ok := e.labels[l]; !ok && !slices.Contains(givenLabels, l) {
					t.Errorf("%s: %s has no label %s to be grouped by", q.where, s.Name, l)
				}
			}
		case *parser.Call:
			rated = rated || p.Func.Name == "rate" || p.Func.Name == "increase"
		}
	}
	if e.kind != "" && counts != rated {
		t.Errorf("%s: %s is a %s: rate and increase are for counters, and counters for them", q.where, s.Name, e.kind)
	}
}

// Whoever is woken by an alert finds in it what to do.
func TestAlertsSayWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://github.com/switchbackhq/switchback/blob/main/docs/observability.md#"
	for _, a := range alerts(t) {
		anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], address)
		if !ok || !strings.EqualFold(anchor, a.Alert) {
			t.Errorf("%s has the runbook %q", a.Alert, a.Annotations["runbook_url"])
		}
		if !strings.Contains(string(page), "\n### "+a.Alert+"\n") {
			t.Errorf("docs/observability.md has no section %s", a.Alert)
		}
		if a.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s lacks a summary, or a severity", a.Alert)
		}
	}
}
