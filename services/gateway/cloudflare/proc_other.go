//go:build !linux

package cloudflare

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// signal tells the child.
func signal(pid int, s syscall.Signal) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	if s == syscall.SIGKILL {
		_ = p.Kill() // it may have ended
		return
	}
	_ = p.Signal(s)
}

// startTime is not known here, so that nothing left over is ended.
func startTime(int) string { return "" }
