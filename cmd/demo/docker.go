// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long a docker command may take. Enabling a plugin that does not
// listen takes the engine 13 s.
const patience = 60 * time.Second

// docker runs the docker command. It is in a process group of its own and no
// signal for the demo cuts it short: a command that was cut leaves things half
// made that nobody could name.
func (d *demo) docker(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := d.engine.Command(ctx, args...)
	// The classic builder leaves nothing but images; BuildKit keeps a cache.
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=0", "DOCKER_CLI_HINTS=false")
	return output(cmd, "docker "+strings.Join(args[:min(2, len(args))], " "))
}

// output runs a command in a process group of its own and returns what it wrote.
func output(cmd *exec.Cmd, name string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// enablePlugin lays the plugin out as `make plugin` does, creates it and enables
// it under the demo's name.
func (d *demo) enablePlugin(ctx context.Context) error {
	layout := filepath.Join(d.dir, "plugin")
	if _, err := output(exec.Command("plugin/assemble", filepath.Join(d.dir, "docker-remote-write"), layout), "plugin/assemble"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"plugin", "create", d.name, layout},
		{"plugin", "set", d.name, "REMOTE_WRITE_URL=" + d.receiver.WriteURL(), "SCRAPE_INTERVAL=" + scrapeInterval.String(), d.added()},
		{"plugin", "enable", d.name},
	} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := d.docker(args...); err != nil {
			return err
		}
	}
	return nil
}

// label marks every image and container that the demo makes.
const label = "docker-remote-write.demo"

// dockerfile makes the containers' image. The label comes first, so that each
// image on the way has it.
const dockerfile = `FROM scratch
LABEL ` + label + `=%s
COPY life /life
HEALTHCHECK --interval=1s --timeout=1s --retries=3 CMD ["/life", "health"]
ENTRYPOINT ["/life"]
`

// buildImage makes the image of the demo's containers.
func (d *demo) buildImage(context.Context) error {
	root := filepath.Join(d.dir, "image")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := errors.Join(
		os.Link(filepath.Join(d.dir, "life"), filepath.Join(root, "life")),
		os.WriteFile(filepath.Join(root, "Dockerfile"), fmt.Appendf(nil, dockerfile, d.name), 0o600),
	); err != nil {
		return err
	}
	_, err := d.docker("build", "-q", "--force-rm", "--network", "none", "-t", d.name, root)
	return err
}

// live starts five containers and keeps some of them coming and going until ctx
// ends. One checks its health, one always fails.
func (d *demo) live(ctx context.Context) error {
	start := func(name string, args ...string) []string {
		return append([]string{"run", "-d", "--network", "none", "--label", label + "=" + d.name, "--name", d.name + "-" + name}, args...)
	}
	job := start("job", "--no-healthcheck", d.name, "job")
	steps := [][]string{
		start("web", d.name, "serve"),
		start("queue", "--no-healthcheck", d.name, "serve"),
		start("cache", "--no-healthcheck", d.name, "serve"),
		job,
		start("broken", "--no-healthcheck", "--restart", "on-failure", d.name, "broken"),
	}
	again := [][]string{
		{"pause", d.name + "-cache"},
		{"rm", "-f", d.name + "-job"},
		job,
		{"unpause", d.name + "-cache"},
		{"restart", "-t", "1", d.name + "-queue"},
		{"diff", d.name + "-queue"},
	}
	for pause := scrapeInterval / 2; ; pause = scrapeInterval {
		for _, args := range steps {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if _, err := d.docker(args...); err != nil {
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		steps = again
	}
}
