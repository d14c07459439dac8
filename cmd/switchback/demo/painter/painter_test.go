package painter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a painter until the test ends, and gives what it reports.
func start(t *testing.T) (url string, reports chan report, client *http.Client, callback string) {
	t.Helper()
	reports = make(chan report, 100)
	refusals := 1 // the first report is refused, and so comes again
	caller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusals > 0 {
			refusals--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var rep report
		if err := json.NewDecoder(r.Body).Decode(&rep); err != nil {
			t.Error(err)
		}
		reports <- rep
	}))
	p := New(Config{Addr: "127.0.0.1:0", Step: time.Millisecond}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	client = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		caller.Close()
	})
	<-p.Ready()
	return p.URL(), reports, client, caller.URL
}

func post(t *testing.T, client *http.Client, url, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestOrder(t *testing.T) {
	url, reports, client, callback := start(t)
	body := fmt.Sprintf(`{"prompt":"a lighthouse","size":"640x480","callback_url":%q,"reference":"r1"}`, callback)
	for range 2 { // the second is the same order again
		status, text := post(t, client, url+"/pictures", "key", body)
		if status != http.StatusAccepted || text != `{"order":"picture-1","state":"accepted"}` {
			t.Fatalf("%d %s", status, text)
		}
	}
	var percents []int
	for {
		rep := <-reports
		percents = append(percents, rep.Percent)
		if rep.State != "painting" {
			want := report{
				Order: "picture-1", Reference: "r1", State: "finished", Percent: 100,
				Picture: &picture{URL: url + "/pictures/picture-1.png", Width: 640, Height: 480},
			}
			if diff := cmp.Diff(want, rep); diff != "" {
				t.Error(diff)
			}
			break
		}
	}
	if diff := cmp.Diff([]int{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, percents); diff != "" {
		t.Error(diff)
	}
}

func TestOrderThatFails(t *testing.T) {
	url, reports, client, callback := start(t)
	post(t, client, url+"/pictures", "", fmt.Sprintf(`{"prompt":"fail, please","callback_url":%q}`, callback))
	for rep := range reports {
		if rep.State == "failed" {
			if rep.Note != "the paint ran out" || rep.Picture != nil {
				t.Errorf("%+v", rep)
			}
			return
		}
	}
}

func TestRefusals(t *testing.T) {
	url, _, client, callback := start(t)
	tests := map[string]struct {
		path, body string
		status     int
		text       string
	}{
		"no JSON":     {"/pictures", `{`, 400, "not JSON"},
		"no prompt":   {"/pictures", `{"callback_url":"http://x"}`, 422, "needs a prompt"},
		"no callback": {"/pictures", `{"prompt":"x"}`, 422, "callback_url"},
		"odd size":    {"/pictures", fmt.Sprintf(`{"prompt":"x","callback_url":%q,"size":"big"}`, callback), 422, "WIDTHxHEIGHT"},
		"no picture":  {"/frames", `{}`, 422, "needs a picture"},
		"frame":       {"/frames", `{"picture":"http://x/1.png","style":"oak"}`, 200, `"url":"http://x/1-framed.png"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, text := post(t, client, url+tt.path, "", tt.body)
			if status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s, want %d with %q", status, text, tt.status, tt.text)
			}
		})
	}
}
