package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	_, err := Find(dir)
	if fault.CodeOf(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("nothing there: %v", err)
	}
	names := Names()
	for _, name := range slices.Backward(names) {
		path := write(t, dir, name, "")
		found, err := Find(dir)
		if err != nil || !cmp.Equal(found, []string{path}) {
			t.Errorf("found %v, %v, want %s", found, err, path)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "switchback.yaml", "listener: {path: /x, port: 9000}\nworkflow: {component: logger}\n")
	over := write(t, dir, "over.yaml", "listener: {port: \"${env.PORT}\"}\n")
	for _, tc := range []struct {
		name string
		o    Options
		port int
	}{
		{"what is found", Options{Dir: dir}, 9000},
		{"named, within the folder", Options{Dir: dir, Files: []string{"switchback.yaml", "over.yaml"}, Environ: []string{"PORT=9001"}}, 9001},
		{"named, elsewhere", Options{Files: []string{filepath.Join(dir, "switchback.yaml"), over}, Environ: []string{"PORT=9002"}}, 9002},
		{"a variable over the files", Options{Dir: dir, Environ: []string{"SWITCHBACK_SET__LISTENER__PORT=9003"}}, 9003},
		{"a setting over the variable", Options{Dir: dir, Environ: []string{"SWITCHBACK_SET__LISTENER__PORT=9003"}, Set: []string{"listener.port=9004"}}, 9004},
		{"variables by function", Options{
			Dir: dir, Set: []string{"listener.port=${env.P}"},
			Env: func(name string) (string, bool) { return "9005", name == "P" },
		}, 9005},
	} {
		doc, err := Load(tc.o)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if doc.Listeners[0].Port != tc.port || len(doc.Needs) > 0 {
			t.Errorf("%s: port %d, needs %v", tc.name, doc.Listeners[0].Port, doc.Needs)
		}
	}
	if _, err := Load(Options{Dir: dir, Files: []string{"none.yaml"}}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a file that is not there: %v", err)
	}
	t.Setenv("SWITCHBACK_SET__LISTENER__PORT", "9006")
	doc, err := Load(Options{Dir: dir})
	if err != nil || doc.Listeners[0].Port != 9006 {
		t.Errorf("the process's environment is not looked at: %v", err)
	}
}

func TestFilesAreMissed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cert.pem", "x")
	write(t, dir, "creds.json", "{")
	write(t, dir, "switchback.yaml", `
listener:
  path: /x
  tls: {cert_file: cert.pem, key_file: "${env.KEY}"}
gateways:
  - {id: a, type: http-tunnel, driver: cloudflare, port: 1, tunnel: t, credentials_file: creds.json}
  - {id: b, type: ssh-tunnel, port: 2, connection: {host: h, auth: {type: keyfile, username: u, keyfile: ~/none/id}}}
  - {id: c, type: ssh-tunnel, port: 3, connection: {host: h, auth: {type: keyfile, username: u, keyfile: open.key}}}
workflow: {component: logger}
`)
	write(t, dir, "open.key", "k")
	if err := os.Chmod(filepath.Join(dir, "open.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	doc, err := Load(Options{Dir: dir, Environ: []string{"KEY=key.pem"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range doc.Needs {
		got = append(got, n.Path+": "+strings.ReplaceAll(n.Message, dir, "DIR"))
	}
	want := []string{
		"listener.tls.key_file: there is no file DIR/key.pem",
		"gateways[0].credentials_file: the credentials file is not JSON",
		"gateways[1].connection.auth.keyfile: there is no file DIR/none/id",
		"gateways[2].connection.auth.keyfile: the key file can be read by others (mode 0644)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := Parse(doc.Source, func(string) (string, bool) { return "x", true })
	if err != nil || len(again.Needs) > 0 {
		t.Errorf("a definition looks for files: %v, %v", err, again.Needs)
	}
}

func TestSecretsStayOutOfTheSource(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "switchback.yaml", `
gateway: {type: http-tunnel, driver: ngrok, port: 8090, authtoken: "${env.TOKEN}"}
listener: {path: /x, host: "${env.HOST_NAME}", verify: {type: github, secret: "${env.TOKEN}"}}
`)
	doc, err := Load(Options{Dir: dir, Environ: []string{"TOKEN=hush-hush", "HOST_NAME=inner"}})
	if err != nil {
		t.Fatal(err)
	}
	if doc.Listeners[0].Host != "inner" {
		t.Errorf("the host is %q", doc.Listeners[0].Host)
	}
	for _, secret := range []string{"hush-hush", "inner"} {
		if strings.Contains(string(doc.Source), secret) {
			t.Errorf("%s is in the source:\n%s", secret, doc.Source)
		}
	}
}

func TestHashTellsContent(t *testing.T) {
	hash := func(source string) string {
		doc, err := Parse([]byte(source), nil)
		if err != nil {
			t.Fatal(err)
		}
		return doc.Hash
	}
	a := hash("listener:\n  path: /x # why\n  port: 9000\n")
	if b := hash(`{"listener": {"path": "/x", "port": 9_000}}`); a != b {
		t.Error("the same content in another layout has another hash")
	}
	if b := hash("listener: {path: /x, port: 9001}"); a == b {
		t.Error("other content has the same hash")
	}
	if b := hash("listener: {path: /x, port: \"9000\"}"); a == b {
		t.Error("text and number have the same hash")
	}
}

func TestProblemsForPrograms(t *testing.T) {
	_, err := Parse([]byte("listener:\n  pth: /x\n"), nil)
	var invalid *Invalid
	if !errors.As(err, &invalid) || fault.CodeOf(err) != fault.Invalid {
		t.Fatalf("got %v", err)
	}
	got, err := json.Marshal(invalid)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"problems":[{"line":2,"column":3,"path":"listener.pth","message":"a listener has no field \"pth\"","hint":"did you mean path?","text":"  pth: /x"}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	_, err := Parse([]byte(`{"a": "`+strings.Repeat("ü", 5000)+`", "listner": 1, "b": "`+strings.Repeat("x", 5000)+`"}`), nil)
	for line := range strings.Lines(err.Error()) {
		if len([]rune(line)) > 200 {
			t.Errorf("a line of %d characters", len([]rune(line)))
		}
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if at := strings.Index(line, "^"); at >= 0 && i > 1 && strings.HasPrefix(lines[i-2], "line 1, column 5011") {
			if got := string([]rune(lines[i-1])[at : at+6]); got != `"listn` {
				t.Errorf("the caret points at %q", got)
			}
			return
		}
	}
	t.Errorf("no caret in\n%s", err)
}

func TestBounds(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("x-a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n")
	for i := range 9 {
		name := string(rune('0' + i + 1))
		from := "*a" + string(rune('0'+i))
		bomb.WriteString("x-a" + name + ": &a" + name + " [" + strings.Repeat(from+", ", 8) + from + "]\n")
	}
	for name, tc := range map[string]struct{ source, want string }{
		"aliases":   {bomb.String(), "more than"},
		"depth":     {"x-a: " + strings.Repeat("[", 500) + strings.Repeat("]", 500), "levels deep"},
		"size":      {"x-a: " + strings.Repeat("x", maxFileSize), "larger than"},
		"entries":   {"listeners:\n" + strings.Repeat("- {path: /x}\n", 1001), "more than 1000 listeners"},
		"endpoints": {"listener:\n  callbacks:\n" + strings.Repeat("  - {path: /x}\n", 1001), "at most 1000 endpoints"},
		"jobs":      {"workflow:\n  jobs:\n" + strings.Repeat("  - {id: x}\n", 1001), "more than 1000 jobs"},
		"problems":  {strings.Repeat("x: 1\n", 10) + strings.Repeat("- x\n", 10), "YAML"},
		"conditions": {
			"workflow: {jobs: [{id: a, type: filter, input: [], where: " + strings.Repeat("{not: ", 62) + "x" + strings.Repeat("}", 62) + "}]}",
			"levels deep",
		},
		"on_error": {"workflow:\n  jobs: [" + strings.Repeat("{component: logger, on_error: [", 40) + strings.Repeat("]}", 40) + "]", "levels deep"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse([]byte(tc.source), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.300v", err)
			}
			t.Logf("took %v", time.Since(start))
		})
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "y%d: 1\n", i)
	}
	_, err := Parse([]byte(many.String()), nil)
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) > maxProblems {
		t.Errorf("%d problems", len(invalid.Problems))
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), wantLine)
		for part := range strings.SplitSeq(input, fileLine) {
			f.Add([]byte(part))
		}
	}
	env := func(name string) (string, bool) { return "1", len(name)%2 == 0 }
	f.Fuzz(func(t *testing.T, data []byte) {
		stored, serr := Stored(data, env)
		doc, err := Parse(data, env)
		if err == nil && len(doc.Needs) == 0 && (serr != nil || len(stored.Unread) > 0) {
			t.Fatalf("it is not taken as a stored one: %v, %+v", serr, stored)
		}
		if err != nil {
			var invalid *Invalid
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("an error that is no Invalid: %v", err)
			}
			if len(err.Error()) == 0 {
				t.Fatal("an error without text")
			}
			return
		}
		again, err := Parse(doc.Source, env)
		if err != nil {
			t.Fatalf("the source cannot be read back: %v\n%s", err, doc.Source)
		}
		if !bytes.Equal(again.Source, doc.Source) {
			t.Fatalf("the source is not stable:\n%s", cmp.Diff(string(doc.Source), string(again.Source)))
		}
		if diff := cmp.Diff(dump(t, doc), dump(t, again)); diff != "" {
			t.Fatalf("the source gives another document:\n%s", diff)
		}
		if diff := cmp.Diff(dump(t, doc), dump(t, stored)); diff != "" && len(doc.Needs) == 0 {
			t.Fatalf("stored, it is another document:\n%s", diff)
		}
	})
}

func TestAmounts(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "300000": 5 * time.Minute, "5000": 5 * time.Second, "250ms": 250 * time.Millisecond, "30s": 30 * time.Second,
		"5m": 5 * time.Minute, "2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour, "1.5s": 1500 * time.Millisecond, "1h30m": 90 * time.Minute,
		"1h 30m": 90 * time.Minute, "0.5": 500 * time.Microsecond, " 2 s ": 2 * time.Second, "1w": 7 * 24 * time.Hour,
	} {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "s", "5x", "-1", "-5s", "5 minutes", "1h30", "1e300", "NaN", "Inf", "1..5s", "99999999999d", "106751d 106751d"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("parseDuration(%q) = %v", in, got)
		}
	}
	for in, want := range map[string]int64{"0": 0, "12": 12, "4MiB": 4 << 20, "512 KiB": 512 << 10, "1GB": 1e9, "1.5k": 1536, "10b": 10} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("parseSize(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MB", "-1", "1TBB", "9e99", "999999999999GiB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %v", in, got)
		}
	}
	for in, want := range map[string]Rate{"10/s": {10, time.Second}, "600 / m": {600, time.Minute}, "5/10s": {5, 10 * time.Second}, "1/day": {1, 24 * time.Hour}} {
		if got, err := parseRate(in); err != nil || *got != want {
			t.Errorf("parseRate(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "10", "/s", "0/s", "10/", "10/5", "10/0s", "x/s", "10/s/s"} {
		if got, err := parseRate(in); err == nil {
			t.Errorf("parseRate(%q) = %v", in, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	words := []string{"identify_by", "path", "port", "public_url", "success_when"}
	for word, want := range map[string]string{
		"identify": "identify_by", "pth": "path", "prot": "port", "publik_url": "public_url", "succes_when": "success_when", "PORT": "port",
	} {
		if got := suggest(word, words); got != "did you mean "+want+"?" {
			t.Errorf("suggest(%q) = %q", word, got)
		}
	}
	for _, word := range []string{"x", "callback", "url"} {
		if got := suggest(word, words); strings.HasPrefix(got, "did") {
			t.Errorf("suggest(%q) = %q", word, got)
		}
	}
}
