// Package command is the words of the command line: flags and arguments, what each command prints, and exit codes.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/supervise"
)

// grammar is the command line. Each command is a struct with a Run method.
type grammar struct {
	Up        upCommand        `cmd:"" help:"Start everything in one process, with a NATS server of its own."`
	Run       runCommand       `cmd:"" help:"Ask for a run, show how it goes, and print its output."`
	Validate  validateCommand  `cmd:"" help:"Check a compose file: its form and its references."`
	Runs      runsCommand      `cmd:"" help:"See runs, and cancel them."`
	Waits     waitsCommand     `cmd:"" help:"See what runs wait for, and end waits by hand."`
	Callbacks callbacksCommand `cmd:"" help:"See what the listeners were sent and what became of it, replay it, and send callbacks by hand."`
	Gateways  gatewaysCommand  `cmd:"" aliases:"gateway" help:"See tunnels and their public URLs, and find out why one does not work."`
	Tunnel    tunnelCommand    `cmd:"" help:"Give a local port a public URL, without any file."`
	Demo      demoCommand      `cmd:"" help:"Try everything at once: a system, an outside service and a run, gone when it ends."`
	Provision provisionCommand `cmd:"" help:"Make the streams and buckets in NATS that are missing."`
	Schema    schemaCommand    `cmd:"" help:"Print the JSON Schema of the compose file, for editors."`
	Version   versionCommand   `cmd:"" help:"Print the version."`

	Healthcheck healthcheckCommand `cmd:"" hidden:"" help:"Ask an address for health: for containers, which have no shell."`
}

// Exit codes of run beside 0, 1 and 2.
const (
	exitCancelled = 3
	exitTimeout   = 4
)

// exit is an error with an exit code of its own.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// streams are where a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// Main runs one command line on the process's own streams and gives its exit code.
func Main(args []string) int {
	s := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	err := run(args, s)
	if err != nil {
		report(s.err, err)
	}
	return code(err)
}

func run(args []string, s *streams) error {
	parser, err := kong.New(&grammar{},
		kong.Name("switchback"),
		kong.Description("Workflows that sleep until a callback wakes them, on NATS JetStream."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(s.out, s.err),
		kong.Bind(s),
	)
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		help := "switchback --help"
		if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context.Command() != "" {
			help = "switchback " + p.Context.Command() + " --help"
		}
		return fault.New(fault.Usage, err.Error(), "`"+help+"` shows how it is written")
	}
	ctx, stop := supervise.Signals(context.Background())
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run()
}

// code gives an error's exit code: its own, a signal's, or its fault's.
func code(err error) int {
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	if s, ok := errors.AsType[*supervise.SignalError](err); ok {
		return s.ExitCode()
	}
	return fault.ExitCode(err)
}

// report says what went wrong and what to do next.
func report(w io.Writer, err error) {
	hint := fault.HintOf(err)
	if e, ok := errors.AsType[*exit](err); ok {
		hint = fault.HintOf(e.err)
	}
	if invalid, ok := errors.AsType[*compose.Invalid](err); ok {
		fmt.Fprintf(w, "Error: %s in the compose file\n\n%s\n\n", count(len(invalid.Problems), "problem"), invalid.Error())
		hint = "correct the file and check it with `switchback validate`"
	} else {
		fmt.Fprintf(w, "Error: %s\n", err)
	}
	if hint == "" && fault.CodeOf(err) == fault.Unavailable {
		hint = "is the system running on this NATS? `switchback up` starts one, --nats names another"
	}
	if hint != "" {
		fmt.Fprintf(w, "Try:   %s\n", hint)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// system are the flags of the commands that talk to a running system.
type system struct {
	NATS string `name:"nats" env:"SWITCHBACK_NATS_URL" default:"nats://127.0.0.1:4222" placeholder:"URL" help:"NATS server of the system (${default})."`
	login
}

// login says who we are to NATS, by the variables that the services read too. As flags they would fill every help.
type login struct {
	User        string `name:"nats-user" env:"SWITCHBACK_NATS_USER" hidden:""`
	Password    string `name:"nats-password" env:"SWITCHBACK_NATS_PASSWORD" hidden:""`
	Credentials string `name:"nats-credentials" env:"SWITCHBACK_NATS_CREDENTIALS" hidden:""`
	NkeyFile    string `name:"nats-nkey-file" env:"SWITCHBACK_NATS_NKEY_FILE" hidden:""`
	CAFile      string `name:"nats-ca-file" env:"SWITCHBACK_NATS_CA_FILE" hidden:""`
	CertFile    string `name:"nats-cert-file" env:"SWITCHBACK_NATS_CERT_FILE" hidden:""`
	KeyFile     string `name:"nats-key-file" env:"SWITCHBACK_NATS_KEY_FILE" hidden:""`
	InboxPrefix string `name:"nats-inbox-prefix" env:"SWITCHBACK_NATS_INBOX_PREFIX" hidden:""`
}

func (l *login) bus() bus.Login {
	return bus.Login{
		User: l.User, Password: l.Password, CredentialsFile: l.Credentials, NkeyFile: l.NkeyFile, CAFile: l.CAFile, CertFile: l.CertFile, KeyFile: l.KeyFile,
		InboxPrefix: l.InboxPrefix,
	}
}

// with connects for as long as f runs.
func (s *system) with(ctx context.Context, f func(c *client.Client) error) error {
	c, err := client.Connect(ctx, s.NATS, s.bus())
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close(ctx))
}

// format is the flag of the commands that print something.
type format struct {
	Output string `short:"o" enum:"text,json" default:"text" placeholder:"FORMAT" help:"text for people, json for programs."`
}

// print writes v as JSON, or calls text.
func (f *format) print(s *streams, v any, text func() error) error {
	if f.Output == "json" {
		return show.JSON(s.out, v)
	}
	return text()
}

func (f *format) json() bool { return f.Output == "json" }

// quote writes a shell argument in a hint.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`*?[](){}<>|&;!#~") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
