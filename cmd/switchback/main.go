// Command switchback is the command for people: it starts a system, asks for runs, and shows what goes on.
package main

import (
	"os"

	"github.com/switchbackhq/switchback/cmd/switchback/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
