// Package docs_test holds the documentation to the truth: the README's tour is followed word for word, the reference of the
// compose file is what the program knows, and links lead somewhere.
package docs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/test/system"
)

const natsCommand = "SWITCHBACK_TEST_NATS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(natsCommand) != "" {
		if err := publish(os.Args[1:]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	system.Main(m)
}

// publish is the nats command as far as the tour uses it, so that the tour can be followed where it is not installed:
// nats pub SUBJECT BODY [-H NAME:VALUE].
func publish(args []string) error {
	if len(args) < 3 || args[0] != "pub" {
		return fmt.Errorf("this nats command knows pub alone, not %q", args)
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	m := nats.NewMsg(args[1])
	m.Data = []byte(args[2])
	if len(args) == 5 && args[3] == "-H" {
		name, value, _ := strings.Cut(args[4], ":")
		m.Header.Set(name, value)
	}
	if err := nc.PublishMsg(m); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s Published %d bytes to %q\n", time.Now().Format(time.TimeOnly), len(m.Data), m.Subject)
	return err
}

// step is a fenced block of the tour with what its comments say about it.
type step struct {
	notes    map[string]string // file: NAME, terminal: NAME, terminals, stop: NAME, skip: WHY
	language string
	text     string
}

var block = regexp.MustCompile("\n((?:<!-- .* -->\n)*)```(\\w*)\n((?s:.*?)\n)```\n")

func steps(t *testing.T) []step {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tour, ok := strings.Cut(string(readme), "\n## Tour\n")
	if !ok {
		t.Fatal("the README has no tour")
	}
	var all []step
	for _, m := range block.FindAllStringSubmatch(tour, -1) {
		s := step{notes: map[string]string{}, language: m[2], text: m[3]}
		for note := range strings.SplitSeq(strings.TrimSpace(m[1]), "\n") {
			key, value, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(note, "<!-- "), " -->"), ": ")
			s.notes[key] = value
		}
		all = append(all, s)
	}
	return all
}

// command is a command of a console block with the lines that it shows.
type command struct {
	line  string
	shows []string
}

func commands(text string) []command {
	var all []command
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, command{line: c})
		} else if len(all) > 0 {
			c := &all[len(all)-1]
			c.shows = append(c.shows, line)
		}
	}
	return all
}

// tourist follows the tour.
type tourist struct {
	t         *testing.T
	dir       string
	prelude   string
	env       []string
	ports     *strings.Replacer // the tour's ports to free ones
	words     *strings.Replacer // and back
	terminals map[string]*exec.Cmd
	stdin     io.Writer
	screen    *screen
}

func TestReadmeTour(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	steps := steps(t)
	if len(steps) < 8 {
		t.Fatalf("the tour has only %d steps", len(steps))
	}
	w := arrive(t)
	for _, s := range steps {
		w.follow(s)
	}
}

// arrive opens the first terminal. The machine's ports may be taken, so the tour's are moved: everywhere in its text, and
// where a command has a default.
func arrive(t *testing.T) *tourist {
	t.Helper()
	var to, from []string
	free := map[string]string{}
	for _, port := range []string{"4222", "8090", "8091", "9000", "9100"} {
		free[port] = strconv.Itoa(system.FreePort(t))
		to, from = append(to, port, free[port]), append(from, free[port], port)
	}
	home, server := sshServer(t)
	to = append(to, "example.com", sshHost, "port: 22\n", fmt.Sprintf("port: %d\n", server.Port), "username: me\n", "username: "+server.User+"\n")
	from = append(from, sshHost, "example.com")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	prelude := fmt.Sprintf(`
switchback() {
  case "$1 $2" in
    up*) shift; exec switchback up --nats-port %[1]s "$@" ;;
    "demo service") exec switchback demo service --addr 127.0.0.1:%[2]s ;;
    *) command switchback "$@" ;;
  esac
}
switchback-listener() { exec switchback-listener "$@"; }
switchback-runner() { exec switchback-runner "$@"; }
nats-server() { SWITCHBACK_TEST_NATS="$PWD/nats-data" SWITCHBACK_TEST_NATS_PORT=%[1]s exec %[3]s; }
nats() { %[4]s=1 %[3]s "$@"; }
# The tour's own process and no other.
pkill() { kill -9 "$(cat up.pid)"; }
`, free["4222"], free["9100"], self, natsCommand)
	w := &tourist{
		t: t, dir: t.TempDir(), prelude: prelude, ports: strings.NewReplacer(to...), words: strings.NewReplacer(from...),
		terminals: map[string]*exec.Cmd{},
	}
	url := "nats://127.0.0.1:" + free["4222"]
	w.env = append(os.Environ(), "PATH="+filepath.Dir(system.Binary(t, "switchback"))+":"+os.Getenv("PATH"),
		"SWITCHBACK_NATS_URL="+url, "NATS_URL="+url, "HOME="+home, "TERM=xterm-256color", "TZ=UTC")
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	w.stdin = stdin
	_, w.screen = start(t, w.dir, w.env, "/dev/stdin", in)
	_ = in.Close()
	w.say(prelude)
	return w
}

// sshHost is the tour's example.com: of this machine, and unlike the address that all else is at.
const sshHost = "127.0.0.2"

// sshServer starts the tour's SSH server, and gives a home folder of somebody who has logged in there before.
func sshServer(t *testing.T) (home string, s *sshtest.Sshd) {
	t.Helper()
	s = sshtest.StartSshd(t, "ListenAddress "+sshHost, "GatewayPorts clientspecified")
	home = t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	known := sshtest.KnownHosts(t, fmt.Sprintf("%s:%d", sshHost, s.Port), s.HostKey)
	for name, from := range map[string]string{"id_ed25519": s.Keyfile, "known_hosts": known} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(home, ".ssh", name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return home, s
}

func (w *tourist) say(text string) {
	if _, err := io.WriteString(w.stdin, text+"\n"); err != nil {
		w.t.Fatalf("type %s: %v", text, err)
	}
}

func (w *tourist) follow(s step) {
	w.t.Helper()
	if _, ok := s.notes["skip"]; ok {
		return
	}
	if name := s.notes["file"]; name != "" {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(w.ports.Replace(s.text)), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if s.language != "console" {
		w.t.Fatalf("what is to be done with this block?\n%s", s.text)
	}
	if name := s.notes["stop"]; name != "" {
		w.stop(name)
	}
	_, several := s.notes["terminals"]
	for i, c := range commands(s.text) {
		switch {
		case several:
			w.open(fmt.Sprintf("%s %d", c.line, i), c)
		case s.notes["terminal"] != "":
			w.open(s.notes["terminal"], c)
		default:
			w.run(c)
		}
	}
}

// open runs a command in a terminal of its own and waits until it has shown what it shall.
func (w *tourist) open(name string, c command) {
	w.t.Helper()
	script := w.prelude + "echo $$ > " + strconv.Quote(strings.Fields(name)[0]+".pid") + "\n" + w.ports.Replace(c.line) + "\n"
	file := filepath.Join(w.t.TempDir(), "terminal")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd, shown := start(w.t, w.dir, w.env, file, nil)
	w.terminals[name] = cmd
	eventually(w.t, "$ "+c.line, func() error { return w.compare(c.shows, shown.lines(), true) })
}

// stop is Ctrl-C.
func (w *tourist) stop(name string) {
	w.t.Helper()
	cmd := w.terminals[name]
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		w.t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		w.t.Errorf("after Ctrl-C %s exits with %d", name, code)
	}
}

// run types a command into the first terminal and compares what it shows. What only looks is looked at again until it is
// there: people do not type as fast as a test.
func (w *tourist) run(c command) {
	w.t.Helper()
	looks := regexp.MustCompile(`^switchback (runs (list|show)|waits list|gateways)`).MatchString(c.line)
	try := func() error {
		before := len(w.screen.lines())
		w.say("{ " + w.ports.Replace(c.line) + "\n} </dev/null; echo '--- done'")
		var after []string
		eventually(w.t, "$ "+c.line, func() error {
			if lines := w.screen.lines(); len(lines) > before && lines[len(lines)-1] == "--- done" {
				after = lines[before : len(lines)-1]
				return nil
			}
			return fmt.Errorf("it goes on: %s", strings.Join(w.screen.lines()[before:], "\n"))
		})
		return w.compare(c.shows, after, false)
	}
	if looks {
		eventually(w.t, "$ "+c.line, try)
	} else if err := try(); err != nil {
		w.t.Fatalf("$ %s: %v", c.line, err)
	}
}

// eventually tries until f gives no error. Its bound is only there to end a test that has failed.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// placeholders are what differs from one time to another.
var placeholders = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\b[0-9a-hjkmnp-tv-z]{26}\b`), "ID"},
	{regexp.MustCompile(`\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d(\.\d+)?`), "TIME"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`just now|\d+[smh] ago`), "AGO"},
	{regexp.MustCompile(`<1ms|\b\d+(\.\d+)?(ms|s)\b`), "TOOK"},
	{regexp.MustCompile(`callback \d+`), "callback N"},
	{regexp.MustCompile(`^\[\d+\]( TIME)?`), "[PID]"}, // the tour's server writes no time
	{regexp.MustCompile(`addr=127\.0\.0\.1:\d+`), "addr=ADDR"},
	{regexp.MustCompile(`  +`), " "},
	{regexp.MustCompile(` +$`), ""},
}

// compare tells how what was shown differs from what is written. A line … stands for any lines. more: what follows is
// not written.
func (w *tourist) compare(written, shown []string, more bool) error {
	plain := func(lines []string) (out []string) {
		for _, line := range lines {
			line = w.words.Replace(line)
			for _, p := range placeholders {
				line = p.what.ReplaceAllString(line, p.name)
			}
			out = append(out, line)
		}
		return out
	}
	want, have, at := plain(written), plain(shown), 0
	for i := 0; i < len(want); i++ {
		skip := want[i] == "…"
		if skip {
			if i++; i == len(want) {
				return nil
			}
		}
		for skip && at < len(have) && have[at] != want[i] {
			at++
		}
		if at == len(have) || have[at] != want[i] {
			return fmt.Errorf("written is line %d\n%s\nand shown is\n%s", i+1, written[i], strings.Join(shown, "\n"))
		}
		at++
	}
	if !more && at < len(have) {
		return fmt.Errorf("shown is more than is written:\n%s", strings.Join(shown[at:], "\n"))
	}
	return nil
}
