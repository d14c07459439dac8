package compose

import (
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// controllerFields are those that stand in the controller or in its adapter.
func controllerFields() []field[Controller] {
	return []field[Controller]{
		choice("type", "The kind of controller.", func(c *Controller) *string { return &c.Type }, "http-server").or("http-server"),
		text("host", "The address to listen on.", func(c *Controller) *string { return &c.Host }).or("127.0.0.1"),
		whole("port", "The port to listen on.", func(c *Controller) *int { return &c.Port }, 0, 65535).or("8080"),
		text("base_path", "The prefix of the API.", func(c *Controller) *string { return &c.BasePath }).or("/api"),
		part("tls", "The certificate to serve HTTPS with.", tlsShape, func(c *Controller) **TLS { return &c.TLS }),
		special("auth", "Who may call.", ref(authShape),
			func(d *decoder, n *node, c *Controller) {
				if n.given() {
					authShape().read(d, n, c)
				}
			}),
	}
}

func authShape() shape[Controller] {
	return shape[Controller]{name: "bearer auth", doc: "Who may call the API.", fields: []field[Controller]{
		choice("type", "The kind of credentials.", func(c *Controller) *string { return &c.AuthType }, "bearer").must(),
		template("token", "The token that every request must bring.", newScopes().env, func(c *Controller) **expr.Template { return &c.AuthToken }).must(),
	}}
}

func adapterShape() shape[Controller] {
	return shape[Controller]{name: "adapter", doc: "The controller's fields, one level down.", fields: controllerFields()}
}

func webuiShape() shape[Controller] {
	driver := ""
	return shape[Controller]{name: "webui", doc: "The dashboard.", fields: []field[Controller]{
		whole("port", "A port of its own for the dashboard.", func(c *Controller) *int { return &c.WebUIPort }, 1, 65535),
		text("driver", "Taken for the sake of older files; there is one dashboard.", func(*Controller) *string { return &driver }),
	}}
}

func controllerShape() shape[Controller] {
	s := shape[Controller]{name: "controller", doc: "The HTTP API.", fields: controllerFields()}
	s.fields = append(s.fields,
		special("adapter", "The fields of the controller, one level down.", ref(adapterShape),
			func(d *decoder, n *node, c *Controller) {
				if n.given() {
					adapterShape().read(d, n, c)
				}
			}),
		special("webui", "The dashboard.", ref(webuiShape),
			func(d *decoder, n *node, c *Controller) {
				if n.given() {
					webuiShape().read(d, n, c)
				}
			}),
	)
	return s
}

// readController reads the section controller.
func (d *decoder) readController(doc *Document, n *node) {
	if !n.given() {
		return
	}
	c := &Controller{Pos: n.place()}
	if adapter := n.get("adapter"); adapter.given() {
		for _, f := range controllerFields() {
			if v := n.get(f.name); v.given() {
				d.wrongKeyf(v, "keep one of them", "both %s and adapter are given", f.name)
			}
		}
		c.PortGiven = adapter.get("port").given()
	}
	if !controllerShape().read(d, n, c) {
		return
	}
	c.PortGiven = c.PortGiven || n.get("port").given()
	if c.BasePath = strings.TrimRight(c.BasePath, "/"); c.BasePath != "" && c.BasePath[0] != '/' {
		c.BasePath = "/" + c.BasePath
	}
	doc.Controller = c
}
