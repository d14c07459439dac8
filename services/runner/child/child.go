// Package child ends the process groups that a runner has started, however the runner ends.
package child

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// watch ends a process group when its input ends. It is a process of its own, so that kill -9 of the runner, which can do nothing
// then, leaves nothing behind; the kernel's way (PR_SET_PDEATHSIG) reaches a child and not what a shell has started.
const watch = `read -r _; kill -KILL "-$1"`

// Guard watches over one process group.
type Guard struct {
	cmd   *exec.Cmd
	alive io.Closer // the group is ended when this is closed, by us or by our death
}

// Watch guards the group of a process that leads one (Setpgid). Call End when the process has ended.
func Watch(pid int) (*Guard, error) {
	g := &Guard{cmd: exec.Command("/bin/sh", "-c", watch, "guard", strconv.Itoa(pid))} //nolint:gosec,noctx // our own words
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := g.cmd.StdinPipe()
	if err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("guard process %d: %w", pid, err)
	}
	g.alive = alive
	return g, nil
}

// End ends whoever is left of the group, and the guard.
func (g *Guard) End() {
	_ = g.alive.Close()
	_ = g.cmd.Wait()
}
