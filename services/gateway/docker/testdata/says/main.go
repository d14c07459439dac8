// Command says is what runs in the containers of the tests.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "exit":
		fmt.Println("out")
		fmt.Fprintln(os.Stderr, "err")
		os.Exit(3)
	case "stay":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("ready")
		<-stop
		fmt.Println("bye")
	case "may": // what may it
		status, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "NoNewPrivs") {
				fmt.Print(line)
			}
		}
		fmt.Println("user", os.Getuid())
		fmt.Println("write:", os.WriteFile("/x", nil, 0o600))
		file, err := os.ReadFile(os.Args[2])
		fmt.Println("file:", string(file), err)
	case "dial":
		c, err := net.DialTimeout("tcp", os.Args[2], 5*time.Second)
		if err != nil {
			fmt.Println("dial:", err)
			return
		}
		_ = c.Close()
		fmt.Println("dial: ok")
	}
}
