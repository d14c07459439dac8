package cloudflare

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// attributes put the child in a group of its own, and end it with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// signal tells the child's whole group.
func signal(pid int, s syscall.Signal) {
	_ = syscall.Kill(-pid, s) // it may have ended
}

// startTime is when a process was started, in the kernel's words; "" when there is none.
func startTime(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat") //nolint:gosec // of the kernel, by a number
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(data), ") ") // a name may hold anything but this
	fields := strings.Fields(rest)
	const field = 19 // starttime, counted from the one after the name
	if !ok || len(fields) <= field || fields[0] == "Z" {
		return ""
	}
	return fields[field]
}
