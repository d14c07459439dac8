package child

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is what a process has used since it began, and the memory that it holds.
type Usage struct {
	CPU         time.Duration // user and system
	RSS         int64         // bytes; 0 where /proc is not there
	Heap        int64         // bytes of live heap, after a collection where one was asked for
	Allocations uint64        // heap objects
}

// UsageArgs ask for a Usage.
type UsageArgs struct {
	Collect bool // garbage first, so that Heap is what is really held
}

// self is the service that each child has beside its role.
type self struct {
	profile *os.File
	role    any
}

// beside is a role that has started programs of others, whose CPU counts as its own.
type beside interface{ Beside() []int }

// Usage answers what this process has used.
func (s *self) Usage(args UsageArgs, usage *Usage) error {
	if args.Collect {
		runtime.GC()
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return fmt.Errorf("read resource usage: %w", err)
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	*usage = Usage{
		CPU:         time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		RSS:         residentBytes(),
		Allocations: samples[0].Value.Uint64(),
		Heap:        int64(samples[1].Value.Uint64()),
	}
	if role, ok := s.role.(beside); ok {
		for _, pid := range role.Beside() {
			p, err := procfs.NewProc(pid)
			if err != nil {
				return fmt.Errorf("find process %d: %w", pid, err)
			}
			stat, err := p.Stat()
			if err != nil {
				return fmt.Errorf("read the CPU time of process %d: %w", pid, err)
			}
			usage.CPU += time.Duration(stat.CPUTime() * float64(time.Second))
		}
	}
	return nil
}

// StartProfile begins a CPU profile in the file.
func (s *self) StartProfile(file string, _ *Nothing) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("start profile: %w", err)
	}
	s.profile = f
	return nil
}

// StopProfile ends the profile and writes it.
func (s *self) StopProfile(_ Nothing, _ *Nothing) error {
	if s.profile == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := s.profile.Close()
	s.profile = nil
	return err
}

func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "VmRSS:" {
			kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
