package child_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/services/runner/child"
)

// asRunner makes this program a runner that has started a command.
const asRunner = "TEST_CHILD_OF"

func TestMain(m *testing.M) {
	if os.Getenv(asRunner) == "" {
		os.Exit(m.Run())
	}
	cmd := group()
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if _, err := child.Watch(cmd.Process.Pid); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, "watched")
	_ = cmd.Wait()
}

// group is a shell with a child in the background. It writes its own id and the child's.
func group() *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; sleep 600 & echo $$ $!; sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout = os.Stdout
	return cmd
}

// TestNothingOutlivesKill9 kills a runner whose command has children.
func TestNothingOutlivesKill9(t *testing.T) {
	runner := exec.Command(os.Args[0])
	runner.Env = append(os.Environ(), asRunner+"=x")
	out, err := runner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	var members []string
	for lines := bufio.NewScanner(out); len(members) < 3 && lines.Scan(); { // two ids, and the word, in any order
		members = append(members, strings.Fields(lines.Text())...)
	}
	_ = runner.Process.Kill()
	_ = runner.Wait()
	for _, member := range slices.DeleteFunc(members, func(m string) bool { return m == "watched" }) {
		eventually(t, "process "+member+" is gone", func() bool { return gone(member) })
	}
}

func TestEnd(t *testing.T) {
	cmd := group()
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g, err := child.Watch(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	g.End()
	_ = cmd.Wait()
	for member := range strings.FieldsSeq(line) {
		eventually(t, "process "+member+" is gone", func() bool { return gone(member) })
	}
}

// gone tells whether a process has ended: one that its parent has not fetched yet counts as ended.
func gone(id string) bool {
	pid, _ := strconv.Atoi(id)
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + id + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
