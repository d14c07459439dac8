package deploy_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// addCommand is a command as `switchback provision --dry-run --commands` prints it.
var addCommand = regexp.MustCompile(`(?m)^nats (stream|consumer) add (\S+)(?: (\S+))? --config /dev/stdin <<'EOF'\n((?s:.*?))\nEOF$`)

// The commands for those who manage NATS by hand make what provision makes. What `nats … add --config` does with a file is this: it
// sends it to JetStream's API. (It was tried with natscli 0.5.1 itself, which is not built here.)
func TestProvisionCommands(t *testing.T) {
	for _, edge := range []bool{false, true} {
		environment(t)
		n := start(t, "nats/server.conf")
		args := []string{"provision", "--dry-run"}
		if edge {
			args = append(args, "--edge")
		}
		script := command(t, n, "admin", append(args, "--commands")...)
		nc, err := nats.Connect(n.ClientURL(), nats.UserInfo("admin", password("admin")))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		commands := addCommand.FindAllStringSubmatch(script, -1)
		if want := strings.Count(script, "--config"); len(commands) != want || want < 5 {
			t.Fatalf("%d commands of %d are understood:\n%s", len(commands), want, script)
		}
		for _, c := range commands {
			subject, body := "$JS.API.STREAM.CREATE."+c[2], []byte(c[4])
			if c[1] == "consumer" {
				subject = "$JS.API.CONSUMER.CREATE." + c[2] + "." + c[3]
				if body, err = json.Marshal(map[string]any{"stream_name": c[2], "config": json.RawMessage(c[4]), "action": "create"}); err != nil {
					t.Fatal(err)
				}
			}
			m, err := nc.Request(subject, body, 10*time.Second)
			if err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
			if strings.Contains(string(m.Data), `"error"`) {
				t.Errorf("%s: %s", subject, m.Data)
			}
		}
		out := command(t, n, "admin", args...)
		if strings.Contains(out, "missing") || strings.Contains(out, "differs") || strings.Count(out, " there ") != len(commands) {
			t.Errorf("after the commands:\n%s", out)
		}
		n.stop()
	}
}
