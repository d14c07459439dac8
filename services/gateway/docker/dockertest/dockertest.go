// Package dockertest gives tests a Docker engine, where there is one, and images that need no registry.
package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// Client connects to the engine that the environment tells of. Where none answers the test is skipped.
func Client(t testing.TB) *client.Client {
	t.Helper()
	c, err := client.New(client.FromEnv)
	if err != nil {
		t.Skip("there is no Docker engine: ", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		t.Skip("there is no Docker engine; the fake one is tested: ", err)
	}
	return c
}

// Image makes an image of the command in dir.
func Image(t testing.TB, c *client.Client, dir, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "main")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".") //nolint:gosec // the tests name it
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	return ImageOf(t, c, binary, name)
}

// ImageOf makes an image of a static program and nothing else, and removes it after the test. Its name is unlike any
// other's.
func ImageOf(t testing.TB, c *client.Client, binary, name string) string {
	t.Helper()
	data, err := os.ReadFile(binary) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "main", Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image := "switchback-test/" + name + ":" + strings.ToLower(filepath.Base(t.TempDir())) + "-" + strings.ToLower(strings.TrimLeft(time.Now().Format("150405.000000"), "0"))
	answer, err := c.ImageImport(t.Context(), client.ImageImportSource{Source: &archive, SourceName: "-"}, image,
		client.ImageImportOptions{Changes: []string{`ENTRYPOINT ["/main"]`, "USER 65532:65532"}})
	if err != nil {
		t.Fatalf("import the image: %v", err)
	}
	defer func() { _ = answer.Close() }()
	if _, err := new(bytes.Buffer).ReadFrom(answer); err != nil {
		t.Fatalf("import the image: %v", err)
	}
	t.Cleanup(func() {
		if _, err := c.ImageRemove(context.Background(), image, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Logf("remove the image: %v", err)
		}
	})
	return image
}
