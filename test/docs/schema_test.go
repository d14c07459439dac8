package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/compose"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	described, err := jsonschema.UnmarshalJSON(bytes.NewReader(compose.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("switchback.json", described); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("switchback.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaJudgesAsTheLoader holds the schema against the loader, for one thing at a time.
func TestSchemaJudgesAsTheLoader(t *testing.T) {
	schema := compiled(t)
	for text, right := range judged() {
		_, err := compose.Parse([]byte(text), func(string) (string, bool) { return "5", true })
		if (err == nil) != right {
			t.Errorf("%s: the loader says %v", text, err)
		}
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(text, err)
		}
		if err := schema.Validate(v); (err == nil) != right {
			t.Errorf("%s: the schema says %v", text, err)
		}
	}
}

// judged are compose files that are right or wrong.
func judged() map[string]bool {
	files := map[string]bool{}
	for right, forms := range map[bool]map[string][]string{
		true: {
			"workflow: {component: logger, %s}": {
				"timeout: 5000", "timeout: '5000'", "timeout: 1h30m", "timeout: 5 m", "timeout: .5h", "timeout: '${env.T}'", "title: 2024", "concurrency: '3'",
				"concurrency: '${env.N}'", "retry: '${env.N}'", "max_run_count: '5'", "depends_on: []", "on_error: ignore", "when: [1]",
			},
			"workflow: {input: {a: %s}, job: {component: logger}}":                                       {"", "integer", "{type: string, required: 'true', minimum: '3', enum: [x]}", "{default: {b: [1]}}"},
			"workflow: {jobs: [{id: 1, component: logger}, {id: b, component: logger, depends_on: %s}]}": {"1", "[1]", "['1', [1]]", "[]"},
			"workflow: {jobs: [{id: a, component: logger}, %s]}": {
				"{id: b, type: random-router, routings: [{to: a, weight: '2'}]}", "{id: b, type: for-each, input: [1], batch_size: '2', do: {component: logger}}",
				"{id: b, type: wait, quorum: '2', accept_early: 500}", "{id: b, type: delay, duration: '${input.d}'}", "{id: b, type: wait, quorum: any, accept_early: 2h}",
			},
			"components: {a: {endpoint: 'https://x', %s}}": {
				"method: get", "method: '${input.m}'", "params: '${input}'", "rate_limit: 100/10s", "max_response_size: 4 MiB", "completion: none",
				"completion: {type: polling, path: /x}", "completion: {type: callback, wait_for: x, quorum: 2}",
			},
			"components: {a: {type: nats, %s}}":   {"subject: x", "actions: {b: {subject: x}}", "action: {subject: x}"},
			"components: [{id: 3, endpoint: %s}]": {"'HTTP://x'", "'${env.U}/x'", "'http://${env.U}'"},
			"listener: {path: /x, %s}":            {"port: '8090'", "bulk: 'True'", "max_body_size: 1kb", "method: put"},
			"gateway: {type: ssh-tunnel, connection: {host: h, auth: {type: agent, username: u}}, port: %s}": {"80", "'80:90'", "[80, '81:90']"},
		},
		false: {
			"workflow: {component: logger, %s}": {
				"timeout: 5 min", "timeout: 5M", "timeout: -5", "timeout: true", "on_error: {}", "on_error: []", "on_error: ignored", "retry: many", "concurrency: {}", "depends_on: [[]]",
				"type: dealy", "duration: 5s, retry: {max_attempts: 1.5}", "workflows: []", "id: a b", "when: true, whenn: true",
			},
			"workflow: {job: {component: logger}, input: %s}": {"{a: {typ: integer}}", "{a: int}", "{a: {enum: []}}", "[a]", "{a: {required: perhaps}}"},
			"workflow: {job: {component: logger}, %s}":        {"jobs: [{component: logger}]", "on_failure: {}"},
			"workflow: {jobs: [{type: %s}]}": {
				"switch", "delay", "delay, duration: 5s, cases: []", "filter", "for-each", "random-router", "workflow", "wait, quorum: most", "wait, quorum: 0", "wait, accept_early: never",
				"wait, component: logger", "delay, duration: 5s, time: '08:00'",
			},
			"components: {a: {endpoint: 'https://x', %s}}": {
				"method: GRAB", "headers: [x]", "headers: x", "rate_limit: fast", "max_response_size: 4 potatoes", "completion: {type: polling}", "completion: {type: callback, interval: 5s}",
				"completion: {type: polling, path: /x, wait_for: y}", "message: x", "command: ls", "action: {path: /x}, actions: []",
			},
			"components: {a: {type: %s}}":        {"nats", "shell", "logger, path: /x", "soap"},
			"components: {a: {endpoint: %s}}":    {"x.com", "'//x'", "3"},
			"listener: {%s}":                     {"path: /x, method: GRAB", "path: /x, verify: {type: githb}", "callbacks: [{identify_by: x}]", "path: /x, port: 99999", "path: /x, bulk: perhaps"},
			"gateway: {driver: ngrok, port: %s}": {"99999", "0"},
			"workflow: {component: logger}\n%s":  {"workflows: []", "lisener: {}", "controller: {port: 99999}"},
		},
	} {
		for form, fillings := range forms {
			for _, f := range fillings {
				files[strings.Replace(form, "%s", f, 1)] = right
			}
		}
	}
	return files
}

// TestSchemaTakesWhatIsRight holds the schema for editors against files that load: an editor must not find fault with them.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	schema := compiled(t)
	files := map[string]string{}
	for _, pattern := range []string{
		"examples/*/*.yaml", "pkg/compose/testdata/*.yaml", "test/e2e/testdata/chapter/*.yaml", "services/runner/engine/testdata/recorded/*.yaml",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(found))
		}
		for _, file := range found {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files[file], _, _ = strings.Cut(string(data), "=== want\n")
		}
	}
	for file, text := range pages(t) {
		for i, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if section.MatchString(m[1]) {
				files[file+strings.Repeat("'", i)] = m[1]
			}
		}
	}
	right := 0
	for name, text := range files {
		file := filepath.Join(t.TempDir(), "switchback.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := compose.Load(compose.Options{Files: []string{file}}); err != nil {
			continue // a golden file of what is wrong, or a part of several files
		}
		right++
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v == nil {
			continue
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if right < 20 {
		t.Errorf("%d files were right", right)
	}
}
