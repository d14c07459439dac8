package compose

import (
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// Gateway is a tunnel that gives local ports a public URL.
type Gateway struct {
	Pos     Pos
	ID      string
	Type    string // http-tunnel or ssh-tunnel
	Driver  string // ngrok, cloudflare or ssh
	Runtime string // native or docker
	Ports   []PortForward
	Target  string // host that the ports are on

	AuthToken, Domain       *expr.Template // ngrok
	ConnectURL, ConnectCA   *expr.Template // ngrok: another edge than the public one
	Token, Tunnel, Hostname *expr.Template // cloudflare
	CredentialsFile         *expr.Template // cloudflare
	PublicURL               *expr.Template // ssh
	URLFrom                 string         // ssh: "" or session
	Connection              *SSHConnection
	OnURL                   string // workflow to run when the URL is new
	Replicas                string // one (default) or all
}

// PortForward is one forwarded port.
type PortForward struct {
	Remote int    // ssh: 0 lets the server pick
	Host   string // "" means the gateway's Target
	Local  int
}

// SSHConnection is an ssh-tunnel's server and account.
type SSHConnection struct {
	Host                             *expr.Template
	Port                             int
	AuthType                         string // keyfile, password or agent
	Username                         *expr.Template
	Keyfile, Passphrase, Password    *expr.Template
	KnownHosts                       *expr.Template
	KeepaliveInterval, RetryInterval time.Duration
	MaxRetryCount                    int // 0: for ever
	InsecureIgnoreHostKey            bool
}
