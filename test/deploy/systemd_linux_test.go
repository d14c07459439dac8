package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// install runs install.sh into a folder, with stand-ins for the binaries.
func install(t *testing.T) (root string) {
	t.Helper()
	root, binaries := t.TempDir(), t.TempDir()
	for _, name := range []string{"nats-server", "switchback", "switchback-listener", "switchback-runner", "switchback-gateway", "switchback-forwarder"} {
		if err := os.WriteFile(filepath.Join(binaries, name), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
			t.Fatal(err)
		}
	}
	for range 2 { // a second time changes nothing
		cmd := exec.CommandContext(t.Context(), "bash", shipped("systemd/install.sh"), binaries)
		cmd.Env = append(os.Environ(), "ROOT="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("install.sh: %v\n%s", err, out)
		}
	}
	if err := os.Link(filepath.Join(binaries, "switchback-forwarder"), filepath.Join(root, "usr", "local", "bin", "switchback-forwarder")); err != nil {
		t.Fatal(err)
	}
	return root
}

// The units are understood by systemd, and leave a service little that it could do to the machine.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze: install systemd to run this test")
	}
	root := install(t)
	units, err := filepath.Glob(shipped("systemd/*.service"))
	if err != nil || len(units) != 6 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	dir := t.TempDir()
	var copies []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		into := filepath.Join(dir, filepath.Base(unit))
		moved := strings.ReplaceAll(string(text), "/usr/local/bin/", filepath.Join(root, "usr", "local", "bin")+"/")
		if err := os.WriteFile(into, []byte(moved), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, into)
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput() //nolint:gosec // ours
	if complaints := about(string(out), units); err != nil || complaints != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, complaints)
	}
	for _, unit := range copies {
		if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil { //nolint:gosec // ours
			t.Errorf("%s is exposed by more than 2.0: %v\n%s", filepath.Base(unit), err, out)
		}
	}
}

// about gives the lines about our units, and not those about the machine's own.
func about(output string, units []string) string {
	var ours []string
	for line := range strings.Lines(output) {
		for _, unit := range units {
			if strings.Contains(line, filepath.Base(unit)) {
				ours = append(ours, line)
				break
			}
		}
	}
	return strings.Join(ours, "")
}

// variables reads a file as systemd does, as far as ours use it.
func variables(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && name[0] != '#' {
			if inner, quoted := strings.CutPrefix(value, "'"); quoted {
				value = strings.TrimSuffix(inner, "'")
			}
			all[name] = value
		}
	}
	return all
}

// What install.sh lays down is a server and users that know each other.
func TestInstalledPasswords(t *testing.T) {
	root := install(t)
	etc := filepath.Join(root, "etc", "switchback")
	for name, value := range variables(t, filepath.Join(etc, "nats.env")) {
		t.Setenv(name, value)
	}
	t.Setenv("NATS_NAME", "here")
	t.Setenv("NATS_STORE_DIR", t.TempDir())
	o, err := server.ProcessConfigFile(filepath.Join(etc, "nats", "server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	n := startWith(t, "the installed server.conf", o)
	for _, user := range []string{"listener", "runner", "gateway", "controller", "admin"} {
		file := filepath.Join(etc, user+".env")
		nc, err := nats.Connect(n.ClientURL(), nats.UserInfo(user, variables(t, file)["SWITCHBACK_NATS_PASSWORD"]))
		if err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		nc.Close()
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v, %v", file, info.Mode(), err)
		}
	}
}
