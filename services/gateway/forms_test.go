package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
)

// Every way of writing a gateway is one that can be opened, natively and in a container.
func TestEveryForm(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock") // none is asked before a tunnel is opened
	key, _ := sshtest.Key(t, t.TempDir(), "id")
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(credentials, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]string{
		"ngrok":                   "type: http-tunnel, driver: ngrok, port: 8080",
		"ngrok, several":          "type: http-tunnel, driver: ngrok, port: [8080, 8081]",
		"ngrok, domain":           "type: http-tunnel, driver: ngrok, port: 8080, authtoken: x, domain: hooks.ngrok.app, on_url: w",
		"cloudflare":              "type: http-tunnel, driver: cloudflare, port: 8080",
		"cloudflare, token":       "driver: cloudflare, port: 8080, token: '${env.TOKEN}'",
		"cloudflare, hostname":    "driver: cloudflare, port: 8080, token: x, hostname: hooks.example.com, replicas: all",
		"cloudflare, credentials": "driver: cloudflare, port: 8080, tunnel: t, credentials_file: " + credentials + ", hostname: hooks.example.com",
		"ssh, keyfile":            "type: ssh-tunnel, port: 8080, connection: {host: remote-server.com, port: 22, auth: {type: keyfile, username: user, keyfile: " + key + "}}",
		"ssh, password":           "type: ssh-tunnel, port: 8080, connection: {host: remote-server.com, port: 22, auth: {type: password, username: user, password: '${env.SSH_PASSWORD}'}}",
		"ssh, ports":              "type: ssh-tunnel, port: ['0:8080', '9000:10.0.0.5:8081', 8082], target: localhost, connection: {host: h, auth: {type: password, username: u, password: p}}",
		"ssh, session":            "type: ssh-tunnel, port: '80:8080', url_from: session, connection: {host: localhost.run, auth: {type: password, username: u, password: p}}",
	} {
		for _, runtime := range []string{"native", "docker"} {
			t.Run(name+"/"+runtime, func(t *testing.T) {
				env := []string{"NGROK_AUTHTOKEN=x", "TOKEN=x", "SSH_PASSWORD=x"}
				doc := parse(t, fmt.Sprintf("gateway: {%s, runtime: %s}\ncomponent: {type: logger, message: hi}\nworkflow: {id: w, job: {}}\n", form, runtime), env...)
				if len(doc.Needs) > 0 {
					t.Fatalf("needs %v", doc.Needs)
				}
				if _, err := gateway.New(gateway.Config{}, gateway.Deps{Document: doc, Getenv: getenv(env...), NATS: "nats://127.0.0.1:4222"}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
