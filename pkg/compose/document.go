// Package compose reads switchback.yaml into a typed document, with every error in it at its place.
package compose

import "github.com/switchbackhq/switchback/pkg/expr"

// Pos is a place in a file. Line and Column count from 1; a value without a place has Line 0.
type Pos struct {
	File   string
	Line   int
	Column int
}

// Document is a compose file, or several merged, checked and with its templates compiled. It is not changed after loading.
type Document struct {
	Listeners  []*Listener
	Gateways   []*Gateway
	Components map[string]*Component
	Workflows  []*Workflow
	Controller *Controller

	// Hash is the content hash of Source: the key in the bucket definitions.
	Hash string
	// Source is the merged document, which Parse and Stored read back to an equal Document. Variables stay unresolved in it.
	Source []byte
	// Unread lists, of a document that Stored has read, what this version can make nothing of.
	Unread []Problem
	// Needs lists what must be there before the document can be started, and is not: unset variables,
	// missing key files, a fragment without workflows.
	Needs []Problem
}

// Problem is one thing wrong in a file, or missing at the place of running.
type Problem struct {
	Pos     Pos
	Path    string // where in the document: components.api.body.url
	Message string
	Hint    string // "did you mean", or what to do
	Line    string // the text of the line
}

// Workflow gives the workflow with the id, or nil. An empty id, and the default one, give the only workflow where
// there is one only, so that who asks for a run need not know its name.
func (d *Document) Workflow(id string) *Workflow {
	if (id == "" || id == DefaultID("workflow")) && len(d.Workflows) == 1 {
		return d.Workflows[0]
	}
	for _, w := range d.Workflows {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// Listener gives the listener with the id, or nil. An empty id gives the first callback listener.
func (d *Document) Listener(id string) *Listener {
	for _, l := range d.Listeners {
		if l.ID == id || id == "" && l.Type == HTTPCallback {
			return l
		}
	}
	return nil
}

// DefaultID is the id of a thing that is alone of its kind and has none: __listener__, __workflow__, … for the others.
func DefaultID(kind string) string { return "__" + kind + "__" }

// DefaultCallbackID is the id of a callback whose endpoint has no identify_by.
const DefaultCallbackID = "__callback__"

// Controller is the HTTP API.
type Controller struct {
	Pos       Pos
	Type      string
	Host      string
	Port      int
	BasePath  string
	TLS       *TLS
	AuthType  string // "" or bearer
	AuthToken *expr.Template
	WebUIPort int  // 0: the API's port
	PortGiven bool // else a port that is taken is replaced by a free one
}
