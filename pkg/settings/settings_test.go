package settings_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/settings"
)

// config has one setting of each kind.
type config struct {
	NATS struct {
		URL      string          `koanf:"url"`
		Password settings.Secret `koanf:"password"`
	} `koanf:"nats"`
	Log struct {
		Level slog.Level `koanf:"level"`
	} `koanf:"log"`
	Timeout   time.Duration     `koanf:"publish_timeout"`
	MaxBody   settings.Size     `koanf:"max-body"`
	Pprof     bool              `koanf:"pprof"`
	Replicas  int               `koanf:"replicas"`
	Port      uint16            `koanf:"port"`
	Share     float64           `koanf:"share"`
	Files     []string          `koanf:"files"`
	Keys      []settings.Secret `koanf:"keys"`
	Allow     netip.Addr        `koanf:"allow"`
	Untouched string            `koanf:"-"`

	valid func(*config) error
}

func (c *config) Validate() error {
	if c.valid == nil {
		return nil
	}
	return c.valid(c)
}

var cmpOptions = []cmp.Option{cmp.AllowUnexported(config{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func defaults() *config {
	c := &config{Timeout: 5 * time.Second, MaxBody: 4 << 20, Replicas: 1, Files: []string{"a", "b"}}
	c.NATS.URL = "nats://127.0.0.1:4222"
	return c
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadLaterSourcesWin(t *testing.T) {
	file := "nats:\n  url: file\n  password: of file\nreplicas: 3\nport: 1\npprof: true\n"
	environ := []string{"SB_NATS_URL=environment", "SB_PORT=2", "SB_REPLICAS=5", "OTHER=x", "SB_SHARE="}
	for name, test := range map[string]struct {
		from settings.Sources
		want func(*config)
	}{
		"defaults alone": {settings.Sources{Environ: []string{}}, func(*config) {}},
		"file": {settings.Sources{File: file, Environ: []string{}}, func(c *config) {
			c.NATS.URL, c.NATS.Password, c.Replicas, c.Port, c.Pprof = "file", settings.Secret("of file"), 3, 1, true
		}},
		"environment over file": {settings.Sources{File: file, EnvPrefix: "SB_", Environ: environ}, func(c *config) {
			c.NATS.URL, c.NATS.Password, c.Replicas, c.Port, c.Pprof = "environment", settings.Secret("of file"), 5, 2, true
		}},
		"no prefix, no environment": {settings.Sources{Environ: environ}, func(*config) {}},
		"flags over all": {
			settings.Sources{File: file, EnvPrefix: "SB_", Environ: environ, Flags: map[string]any{"port": uint16(3), "pprof": false}},
			func(c *config) {
				c.NATS.URL, c.NATS.Password, c.Replicas, c.Port, c.Pprof = "environment", settings.Secret("of file"), 5, 3, false
			},
		},
		"empty file":             {settings.Sources{File: "# nothing\n", Environ: []string{}}, func(*config) {}},
		"nothing behind the key": {settings.Sources{File: "replicas:\nnats:\n", Environ: []string{}}, func(*config) {}},
		"an anchor":              {settings.Sources{File: "nats: &n {url: x}\n", Environ: []string{}}, func(c *config) { c.NATS.URL = "x" }},
	} {
		t.Run(name, func(t *testing.T) {
			if test.from.File != "" {
				test.from.File = write(t, test.from.File)
			}
			got, want := defaults(), defaults()
			test.want(want)
			if err := settings.Load(got, test.from); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpOptions...); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadReadsTheEnvironmentOfTheProcess(t *testing.T) {
	t.Setenv("SB_NATS_URL", "from the process")
	got := defaults()
	if err := settings.Load(got, settings.Sources{EnvPrefix: "SB_"}); err != nil || got.NATS.URL != "from the process" {
		t.Errorf("url = %q, %v", got.NATS.URL, err)
	}
}

func TestLoadTypes(t *testing.T) {
	want := defaults()
	want.NATS.Password = settings.Secret("p")
	want.Log.Level = slog.LevelWarn
	want.Timeout = 36 * time.Hour
	want.MaxBody = 64 << 10
	want.Pprof = true
	want.Replicas, want.Port, want.Share = -2, 65535, 0.5
	want.Files = []string{"x", "y z"}
	want.Allow = netip.MustParseAddr("::1")
	want.Keys = []settings.Secret{settings.Secret("k")}
	for name, from := range map[string]settings.Sources{
		"file": {Environ: []string{}, File: write(t, `
nats: {password: p}
log: {level: warn}
publish_timeout: 1d12h
max-body: 64KiB
pprof: true
replicas: -2
port: 65535
share: 0.5
files: [x, y z]
keys: [k]
allow: "::1"
`)},
		"environment": {EnvPrefix: "SB_", Environ: []string{
			"SB_NATS_PASSWORD=p", "SB_LOG_LEVEL=WARN", "SB_PUBLISH_TIMEOUT=36h", "SB_MAX_BODY=65536",
			"SB_PPROF=1", "SB_REPLICAS=-2", "SB_PORT=65535", "SB_SHARE=0.5", "SB_FILES=x, y z,", "SB_KEYS=k", "SB_ALLOW=::1",
		}},
		"flags": {Environ: []string{}, Flags: map[string]any{
			"nats.password": settings.Secret("p"), "log.level": "warn", "publish_timeout": 36 * time.Hour,
			"max-body": settings.Size(65536), "pprof": true, "replicas": -2, "port": 65535, "share": 0.5,
			"files": []string{"x", "y z"}, "keys": "k", "allow": netip.MustParseAddr("::1"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := defaults()
			if err := settings.Load(got, from); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpOptions...); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	path := write(t, `nats:
  ulr: x
  url: 7
  password: [1, 2]
replicas: many
replicas: 2
port: 65536
zzz: 1
pprof: perhaps
keys: [open sesame, ~]
share: half
files: {a: b}
`)
	c := defaults()
	err := settings.Load(c, settings.Sources{
		File: path, EnvPrefix: "SB_",
		Environ: []string{"SB_PUBLISH_TIMEOUT=5000", "SB_MAX_BODY=4 hats", "SB_NATS_ULR=x", "SB_ELSEWHERE=x", "SB_LOG_LEVEL=loud"},
		Flags:   map[string]any{"nats.urls": "x"},
	})
	if _, ok := errors.AsType[*settings.Error](err); !ok {
		t.Fatalf("Load = %v, want a *settings.Error", err)
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), path, "FILE"), "\n")
	all := "the settings are allow, files, keys, log.level, max-body, nats.password, nats.url, port, pprof, publish_timeout, replicas, share"
	want := []string{
		"FILE:2: nats.ulr is not a setting; did you mean nats.url?",
		"FILE:6: replicas is set twice in this file",
		"FILE:8: zzz is not a setting; " + all,
		"SB_NATS_ULR is not a setting; did you mean SB_NATS_URL?",
		"flag for nats.urls: nats.urls is not a setting; did you mean nats.url?",
		`FILE:3: nats.url = "7" is no text: put it in quotes`,
		"FILE:4: nats.password = *** is no single value",
		`SB_LOG_LEVEL: log.level = "loud" slog: level string "loud": unknown name`,
		`SB_PUBLISH_TIMEOUT: publish_timeout = "5000" has no unit: write 5000s or 5000ms`,
		`SB_MAX_BODY: max-body = "4 hats" is no size: write 512, 64KiB, 4MiB or 1GB`,
		`FILE:9: pprof = "perhaps" is neither true nor false`,
		`FILE:5: replicas = "many" is no whole number`,
		`FILE:7: port = "65536" is out of range`,
		`FILE:11: share = "half" is no number`,
		`FILE:12: files = "map[a:b]" is no list`,
		"FILE:10: keys = *** item 2 is empty",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "sesame") {
		t.Error("a secret is shown")
	}
}

func TestLoadFileProblems(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for name, test := range map[string]struct{ path, want string }{
		"missing":             {missing, missing + ": there is no such settings file"},
		"a directory":         {t.TempDir(), "is a directory"},
		"no YAML":             {write(t, "a: [\n"), "yaml: line 2"},
		"no mapping":          {write(t, "- a\n"), ":1: is not a mapping of settings"},
		"a number for a text": {write(t, "nats: {password: 0123}\n"), ":1: nats.password = *** is no text: put it in quotes"},
		"an alias":            {write(t, "log: &l {level: warn}\nnats: *l\n"), ":1: nats.level is not a setting"},
		"no group":            {write(t, "nats: 4\n"), ":1: nats is not a mapping of settings"},
	} {
		t.Run(name, func(t *testing.T) {
			err := settings.Load(defaults(), settings.Sources{File: test.path, Environ: []string{}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Load = %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestLoadValidates(t *testing.T) {
	c := defaults()
	c.valid = func(c *config) error {
		return errors.Join(fmt.Errorf("replicas = %d is even", c.Replicas), nil, errors.New("port is missing"))
	}
	err := settings.Load(c, settings.Sources{EnvPrefix: "SB_", Environ: []string{"SB_REPLICAS=2"}})
	if want := "replicas = 2 is even\nport is missing"; err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %q", err, want)
	}
	// What cannot be read is not validated: its message would be about the default.
	err = settings.Load(c, settings.Sources{EnvPrefix: "SB_", Environ: []string{"SB_REPLICAS=x"}})
	if want := `SB_REPLICAS: replicas = "x" is no whole number`; err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %q", err, want)
	}
}

func TestLoadKeepsDefaultsOfWhatIsWrong(t *testing.T) {
	c := defaults()
	err := settings.Load(c, settings.Sources{EnvPrefix: "SB_", Environ: []string{"SB_PUBLISH_TIMEOUT=x", "SB_MAX_BODY=x"}})
	if err == nil || c.Timeout != 5*time.Second || c.MaxBody != 4<<20 {
		t.Errorf("after %v: timeout %v, max body %v", err, c.Timeout, c.MaxBody)
	}
}

func TestLoadRefusesStructsThatCannotHoldSettings(t *testing.T) {
	for name, load := range map[string]func() error{
		"no struct": func() error { n := 1; return settings.Load(&n, settings.Sources{}) },
		"no tag":    func() error { return settings.Load(&struct{ A string }{}, settings.Sources{}) },
		"group without a tag": func() error {
			return settings.Load(&struct{ A struct{} }{}, settings.Sources{})
		},
		"a channel": func() error {
			return settings.Load(&struct {
				A chan int `koanf:"a"`
			}{}, settings.Sources{})
		},
	} {
		if err := load(); err == nil {
			t.Errorf("%s: Load succeeded", name)
		}
	}
}

// base is embedded: its settings stand among those of the struct around it.
type Base struct {
	URL string `koanf:"url"`
}

func TestLoadEmbeddedStructs(t *testing.T) {
	var c struct {
		Base

		Own string `koanf:"own"`
	}
	err := settings.Load(&c, settings.Sources{Environ: []string{}, Flags: map[string]any{"url": "u", "own": "o"}})
	if err != nil || c.URL != "u" || c.Own != "o" {
		t.Errorf("settings = %+v, %v", c, err)
	}
}
