package imports_test

// Names of the table. A package of ours is written without the module prefix; a name that ends in /... means
// everything below as well.
const (
	project    = "github.com/switchbackhq/switchback/"
	natsClient = "github.com/nats-io/nats.go/..."
	natsServer = "github.com/nats-io/nats-server/v2/..."
	ngrok      = "golang.ngrok.com/ngrok/v2/..."
	ssh        = "golang.org/x/crypto/ssh/..."
	otelSDK    = "go.opentelemetry.io/otel/sdk/..."
	otelExport = "go.opentelemetry.io/otel/exporters/..."
	moby       = "github.com/moby/moby/..."
)

// importRule says what packages may import themselves.
type importRule struct {
	of string
	// only lists what they may import of ours; nil: nothing.
	only []string
	// never lists what else they must not import, from the standard library or elsewhere.
	never []string
	// stdlib: nothing but the standard library and only.
	stdlib bool
	why    string
}

// pure packages compute: they open nothing and ask for nothing.
var pure = []string{"net", "net/http", "net/rpc", "os", "os/exec", "os/signal", "github.com/valyala/fasthttp/...", natsClient, natsServer}

// importRules: the longest match counts, and every package of production code needs one.
var importRules = []importRule{
	{of: "pkg/subject", stdlib: true, never: pure, why: "everybody builds subjects, so it must cost nothing to import"},
	{of: "pkg/fault", stdlib: true, never: without(pure, "net/http"), why: "everybody reports faults; of net/http it needs the statuses' names"},
	{of: "pkg/event", stdlib: true, only: []string{"pkg/subject"}, never: pure, why: "what travels has no behaviour"},
	{of: "pkg/value", stdlib: true, never: pure, why: "values are plain Go"},
	{
		of: "pkg/expr", only: []string{"pkg/value", "pkg/fault"}, never: pure,
		why: "expressions are evaluated at every request and in the engine: pure",
	},
	{
		of: "pkg/compose", only: []string{"pkg/expr", "pkg/value", "pkg/fault", "pkg/subject"},
		never: without(pure, "os", "net", "net/http"),
		why:   "it reads files and checks addresses and methods by their names, and talks to nobody",
	},
	{
		of: "pkg/bus", only: []string{"pkg/subject", "pkg/event", "pkg/fault", "pkg/value", "pkg/workers"}, never: []string{natsServer},
		why: "it speaks NATS and knows nothing of workflows",
	},
	{of: "pkg/bus/bustest", only: []string{"pkg/bus", "pkg/subject", "pkg/event"}, why: "a real server for tests"},
	{of: "pkg/workers", stdlib: true, never: pure, why: "it runs functions, and knows none of them"},
	{of: "pkg/fate", only: []string{"pkg/bus", "pkg/event", "pkg/subject"}, why: "it reads what waits and runs have left, and changes nothing"},
	{of: "pkg/supervise", stdlib: true, never: []string{"net/http"}, why: "starting and stopping needs to know nothing of what is started"},
	{of: "pkg/settings", only: []string{"pkg/fault"}, never: []string{"net/http"}, why: "it fills a struct"},
	{of: "pkg/telemetry", only: []string{"pkg/fault"}, why: "it logs, counts and answers, whatever the service does"},
	{of: "pkg/boot", only: []string{"pkg/..."}, why: "it puts the shared packages together for a service's binary, and knows no service"},

	{
		of: "services/listener/ingress/...", only: shared("services/listener/ingress/..."), never: pure,
		why: "a request becomes callbacks without a network, so that it can be fuzzed",
	},
	{
		of: "services/listener/verify/...", only: shared("services/listener/verify/..."),
		never: without(pure, "net"),
		why:   "signatures are checked over bytes; of net it needs the form of addresses",
	},
	{
		of: "services/listener/verify/fetch", only: []string{"pkg/fault", "services/listener/verify/..."},
		why: "the one place where verification asks the network: for keys",
	},
	{
		of: "services/listener/replay", only: shared("services/listener/ingress/..."), never: pure,
		why: "a recorded request becomes callbacks as a received one does, wherever that is asked for",
	},
	{
		of: "services/runner/engine", only: shared("services/runner/engine"), never: pure,
		why: "everything that happens next, and nothing that happens",
	},

	{of: "services/listener/...", only: []string{"pkg/...", "services/listener/..."}, why: "services meet in subjects, never in imports"},
	{of: "services/runner/...", only: []string{"pkg/...", "services/runner/..."}, why: "services meet in subjects, never in imports"},
	{
		of: "services/gateway/tunnel", stdlib: true, never: []string{natsClient, natsServer, ngrok, ssh},
		why: "states, retries, probe and proxy know no driver and no NATS",
	},
	{of: "services/gateway/docker", only: []string{"pkg/compose", "pkg/fault", "pkg/telemetry"}, why: "containers know no tunnel and no NATS"},
	{of: "services/gateway/lease", only: []string{"pkg/bus", "pkg/subject"}, why: "who holds a thing is a matter of NATS alone"},
	{of: "services/gateway/...", only: []string{"pkg/...", "services/gateway/..."}, why: "services meet in subjects, never in imports"},
	{of: "services/forwarder/...", only: []string{"pkg/...", "services/forwarder/..."}, why: "services meet in subjects, never in imports"},
	{of: "services/controller/...", only: []string{"pkg/...", "services/controller/..."}, why: "services meet in subjects, never in imports"},
	{of: "cmd/switchback/...", only: []string{"pkg/...", "services/...", "cmd/switchback/..."}, why: "the all-in-one command imports all"},
	{of: "bench/...", only: []string{"pkg/...", "services/...", "bench/..."}, why: "the bench starts what it measures"},
	{of: "test/...", only: []string{"pkg/...", "services/...", "test/..."}, why: "end to end"},
}

// shared is what the pure packages of a service may import of ours: the vocabulary, and what is below themselves.
func shared(own string) []string {
	return []string{"pkg/compose", "pkg/event", "pkg/expr", "pkg/fault", "pkg/subject", "pkg/value", own}
}

// only maps what few may import to those few; their tests and test/ and bench/ are free.
var reserved = []struct {
	what string
	by   []string
	why  string
}{
	{natsClient, []string{"pkg/bus"}, "one package speaks NATS, so that what must be right is right once"},
	{natsServer, []string{"pkg/bus/bustest", "cmd/switchback/..."}, "only the all-in-one command and tests embed a server"},
	{"pkg/bus/bustest", nil, "it starts servers for tests"},
	{"testing", []string{"pkg/bus/bustest", "services/gateway/sshtest", "services/gateway/docker/dockertest", "services/gateway/ngroktest", "services/gateway/cloudflaretest"}, "production code links no test code"},
	{"services/gateway/sshtest", nil, "it starts servers for tests"},
	{ssh, []string{"services/gateway/ssh", "services/gateway/sshtest"}, "one driver speaks ssh"},
	{"services/gateway/docker/dockertest", nil, "it makes images for tests"},
	{moby, []string{"services/gateway/docker", "services/gateway/docker/dockertest"}, "one package speaks to a Docker engine"},
	{ngrok, []string{"services/gateway/ngrok"}, "one driver speaks to ngrok"},
	{"services/gateway/ngroktest", nil, "it is an edge for tests"},
	{"services/gateway/cloudflaretest", nil, "it stands in for a program in tests"},
	{otelSDK, []string{"pkg/telemetry"}, "where traces go is set up once; everybody else has a Tracer"},
	{otelExport, []string{"pkg/telemetry"}, "where traces go is set up once; everybody else has a Tracer"},
	{"net/http/httptest", nil, "production code links no test code"},
	{"github.com/google/go-cmp/...", nil, "production code links no test code"},
	{"go.uber.org/goleak/...", nil, "production code links no test code"},
}

// linkRule says what a command must not link, however indirectly.
type linkRule struct {
	command string
	never   []string
	why     string
}

var testCode = []string{
	"testing", "net/http/httptest", "github.com/google/go-cmp/...", "go.uber.org/goleak/...", "pkg/bus/bustest", "services/gateway/sshtest",
	"services/gateway/docker/dockertest", "services/gateway/ngroktest", "services/gateway/cloudflaretest",
}

// linkRules: every command needs one.
var linkRules = []linkRule{
	{
		"services/listener/cmd/switchback-listener",
		append([]string{natsServer, ngrok, ssh, moby, "services/runner/...", "services/gateway/...", "services/controller/..."}, testCode...),
		"the listener faces the internet: it carries nothing that it does not use",
	},
	{
		"services/runner/cmd/switchback-runner",
		append([]string{natsServer, ngrok, ssh, moby, "services/listener/...", "services/gateway/...", "services/controller/..."}, testCode...),
		"the runner holds the secrets of outside services: it carries nothing that it does not use",
	},
	{
		"services/gateway/cmd/switchback-gateway",
		append([]string{natsServer, "services/listener/...", "services/runner/...", "services/controller/..."}, testCode...),
		"a tunnel needs no server",
	},
	{
		"services/forwarder/cmd/switchback-forwarder",
		append([]string{natsServer, ngrok, ssh, "services/listener/...", "services/runner/...", "services/gateway/...", "services/controller/..."}, testCode...),
		"the forwarder stands between two networks: it carries nothing that it does not use",
	},
	{
		"services/controller/cmd/switchback-controller",
		append([]string{natsServer, ngrok, ssh, moby, "services/listener/...", "services/runner/...", "services/gateway/..."}, testCode...),
		"the controller asks over NATS",
	},
	{"cmd/switchback", testCode, "the all-in-one command carries all services, and no test code"},
	{"bench", nil, "the bench may link what it measures against"},
}
