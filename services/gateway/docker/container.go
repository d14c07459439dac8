package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Labels of our containers.
const (
	labelOwner = "dev.switchback.owner"
	labelName  = "dev.switchback.name"
	labelSpec  = "dev.switchback.spec"
)

// Container runs. It is stopped and removed by Stop, and no less when it has ended by itself.
type Container struct {
	ID      string
	Adopted bool // it ran already

	engine *Engine
	name   string
	cancel context.CancelFunc // of following it
	ended  chan struct{}
	code   int
	err    error
}

// Bounds of a container's life.
const (
	createTime = time.Minute
	logSize    = "10m"
	maxPids    = 256
	lastWords  = 5 * time.Second // what a container that has ended may still have to say
)

// Start has the container of spec run: the one that runs already, when it is as it is wanted, or a new one in place of
// those that are not. What it says goes to the spec's writers until it ends.
func (e *Engine) Start(ctx context.Context, spec *Spec) (*Container, error) {
	asking, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	if err := e.reaches(asking, spec); err != nil {
		return nil, err
	}
	c := &Container{engine: e, name: spec.Name, ended: make(chan struct{})}
	found, err := e.list(asking, spec.Name)
	if err != nil {
		return nil, err
	}
	hash := spec.hash(e.Settings)
	for _, f := range found {
		if c.ID == "" && f.State == container.StateRunning && f.Labels[labelSpec] == hash {
			e.log.Info("adopting a container that runs already", slog.String("container", spec.Name), slog.String("id", short(f.ID)))
			c.ID, c.Adopted = f.ID, true
			continue
		}
		e.log.Info("removing a container that was left over", slog.String("container", spec.Name), slog.String("id", short(f.ID)))
		if err := e.remove(asking, f.ID); err != nil {
			return nil, err
		}
	}
	if c.ID == "" {
		if err := e.image(ctx, spec.Image); err != nil { // may take long, and ctx bounds it
			return nil, err
		}
		asking, cancel := context.WithTimeout(ctx, createTime)
		defer cancel()
		if c.ID, err = e.create(asking, spec, hash); err != nil {
			return nil, err
		}
	}
	if err := c.follow(ctx, spec); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx), 0))
	}
	return c, nil
}

func (e *Engine) list(ctx context.Context, name string) ([]container.Summary, error) {
	filters := make(client.Filters).Add("label", labelOwner+"="+e.owner)
	if name != "" {
		filters.Add("label", labelName+"="+name)
	}
	found, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, e.explain(err, "list containers")
	}
	return found.Items, nil
}

// Sweep removes the owner's containers whose names begin with prefix and are none of keep.
func (e *Engine) Sweep(ctx context.Context, prefix string, keep []string) error {
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	found, err := e.list(ctx, "")
	if err != nil {
		return err
	}
	for _, f := range found {
		if name := f.Labels[labelName]; len(name) >= len(prefix) && name[:len(prefix)] == prefix && !slices.Contains(keep, name) {
			e.log.Info("removing a container that is not wanted any more", slog.String("container", name), slog.String("id", short(f.ID)))
			if err := e.remove(ctx, f.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func short(id string) string { return id[:min(12, len(id))] }

func (e *Engine) create(ctx context.Context, spec *Spec, hash string) (string, error) {
	config, host, err := e.configs(spec, hash)
	if err != nil {
		return "", err
	}
	made, err := e.client.ContainerCreate(ctx, client.ContainerCreateOptions{Config: config, HostConfig: host, Name: spec.name(e.owner)})
	if errdefs.IsConflict(err) {
		return "", fault.Wrap(err, fault.Conflict, "the name of the container "+spec.Name+" is taken", "docker rm -f "+spec.name(e.owner))
	}
	if err != nil {
		return "", e.explain(err, "create the container "+spec.Name)
	}
	for _, warning := range made.Warnings {
		e.log.Debug("the Docker engine warns", slog.String("container", spec.Name), slog.String("warning", warning))
	}
	for _, folder := range spec.folders() {
		archive, err := spec.archive(folder)
		if err == nil {
			_, err = e.client.CopyToContainer(ctx, made.ID, client.CopyToContainerOptions{DestinationPath: folder, Content: archive})
		}
		if err != nil {
			return "", errors.Join(e.explain(err, "put files into the container "+spec.Name), e.remove(context.WithoutCancel(ctx), made.ID))
		}
	}
	return made.ID, nil
}

// configs say what the container is and what it may: to read its own files, to use the network, and little else.
func (e *Engine) configs(spec *Spec, hash string) (*container.Config, *container.HostConfig, error) {
	c := &container.Config{
		Image: spec.Image, Cmd: spec.Args, Env: spec.Env, WorkingDir: spec.Dir, User: fmt.Sprintf("%d:%d", account, account),
		Labels: map[string]string{labelOwner: e.owner, labelName: spec.Name, labelSpec: hash},
	}
	pids := int64(maxPids)
	h := &container.HostConfig{
		ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		Tmpfs:         map[string]string{"/tmp": "size=64m"},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": "2"}},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled}, // it is started again by us
		NetworkMode:   container.NetworkMode(e.Settings.Network),
		Resources:     container.Resources{Memory: e.Settings.Memory << 20, PidsLimit: &pids},
	}
	if dirs := spec.folders(); len(dirs) > 0 {
		c.Volumes = map[string]struct{}{}
		for _, dir := range dirs {
			c.Volumes[dir] = struct{}{}
		}
	}
	if e.OnHost() {
		return c, h, nil
	}
	h.ExtraHosts = []string{e.LocalName() + ":host-gateway"}
	c.ExposedPorts, h.PortBindings = network.PortSet{}, network.PortMap{}
	for _, p := range spec.Ports {
		inside, ok := network.PortFrom(uint16(p.Inside), network.TCP) //nolint:gosec // a port
		ip, err := netip.ParseAddr(p.IP)
		if !ok || err != nil {
			return nil, nil, fault.New(fault.Usage, fmt.Sprintf("%s:%d cannot be published from a container", p.IP, p.Here), "write an address as the host")
		}
		c.ExposedPorts[inside] = struct{}{}
		h.PortBindings[inside] = append(h.PortBindings[inside], network.PortBinding{HostIP: ip, HostPort: strconv.Itoa(p.Here)})
	}
	return c, h, nil
}

// follow starts the container, unless it runs, and hears it until it ends.
func (c *Container) follow(ctx context.Context, spec *Spec) error {
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	condition := container.WaitConditionNextExit
	if c.Adopted {
		condition = container.WaitConditionNotRunning
	}
	wait := c.engine.client.ContainerWait(following, c.ID, client.ContainerWaitOptions{Condition: condition}) // before it can end
	if !c.Adopted {
		if _, err := c.engine.client.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
			cancel()
			close(c.ended)
			if client.IsErrConnectionFailed(err) || ctx.Err() != nil {
				return c.engine.explain(err, "start the container "+c.name)
			}
			return fault.Wrap(err, fault.Invalid, "cannot start the container "+c.name, "look at the image "+spec.Image+": its entry point must be the program")
		}
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		c.hear(following, spec)
	}()
	go func() {
		defer close(c.ended)
		select {
		case r := <-wait.Result:
			c.code = int(r.StatusCode)
		case err := <-wait.Error:
			c.err = c.engine.explain(err, "watch the container "+c.name)
		}
		last := time.AfterFunc(lastWords, cancel)
		defer last.Stop()
		defer cancel()
		<-said
	}()
	return nil
}

// hear copies what the container says. Of one that was adopted that is what it says from now on.
func (c *Container) hear(ctx context.Context, spec *Spec) {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true}
	if c.Adopted {
		o.Tail = "0"
	}
	logs, err := c.engine.client.ContainerLogs(ctx, c.ID, o)
	if err == nil {
		defer func() { _ = logs.Close() }()
		_, err = stdcopy.StdCopy(cmp.Or[io.Writer](spec.Stdout, io.Discard), cmp.Or[io.Writer](spec.Stderr, io.Discard), logs)
	}
	if err != nil && ctx.Err() == nil {
		c.engine.log.Warn("cannot follow what a container says", slog.String("container", c.name), slog.Any("error", err))
	}
}

// Ended is closed when the container has ended and all that it said is copied, or the engine cannot tell any more.
func (c *Container) Ended() <-chan struct{} { return c.ended }

// Result is of a container that has ended: its exit code, or why it is not known.
func (c *Container) Result() (code int, err error) { return c.code, c.err }

// Published gives where a port is published on this machine, host:port.
func (c *Container) Published(ctx context.Context, inside int) (string, error) {
	got, err := c.engine.client.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	if err != nil {
		return "", c.engine.explain(err, "look at the container "+c.name)
	}
	for port, bindings := range got.Container.NetworkSettings.Ports {
		if int(port.Num()) == inside && len(bindings) > 0 {
			return bindings[0].HostIP.String() + ":" + bindings[0].HostPort, nil
		}
	}
	return "", fault.New(fault.NotFound, fmt.Sprintf("the port %d of the container %s is not published", inside, c.name), "")
}

// Stop asks the container to end, makes it when it does not within grace, and removes it.
func (c *Container) Stop(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+createTime)
	defer cancel()
	seconds := int(grace / time.Second)
	_, err := c.engine.client.ContainerStop(ctx, c.ID, client.ContainerStopOptions{Timeout: &seconds})
	if err == nil {
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
	} else if errdefs.IsNotFound(err) {
		err = nil
	}
	if c.cancel != nil {
		c.cancel()
	}
	<-c.ended
	return errors.Join(c.engine.explain(err, "stop the container "+c.name), c.engine.remove(ctx, c.ID))
}

func (e *Engine) remove(ctx context.Context, id string) error {
	_, err := e.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // gone, or going
		return nil
	}
	return e.explain(err, "remove the container "+short(id))
}
