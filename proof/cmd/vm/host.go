// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
)

// confinement reads from /proc what the kernel lets the plugin do.
func confinement(ctx context.Context, w *world) (string, error) {
	if err := w.install(ctx, "plugin"); err != nil {
		return "", err
	}
	out, err := w.sh(ctx, `p=$(plugin_pid)
grep -E '^(Uid|Cap...|NoNewPrivs|Seccomp|VmRSS|RssAnon):' /proc/$p/status | tr '\t' ' '
echo "AppArmor: $(tr -d '\0' </proc/$p/attr/current)"
echo "journal: $(journalctl -q -k -b --no-pager -o cat | grep -c 'apparmor="DENIED".*docker-remote' || true)"`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{"CapEff: 0000000000000000", "CapPrm: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "journal: 0"} {
		if !strings.Contains(out+"\n", want+"\n") {
			return "", fmt.Errorf("%q is not in\n%s", want, out)
		}
	}
	return strings.ReplaceAll(out, "\n", ", "), nil
}

// status is asked as root, and as somebody who may use the engine and is not root.
func status(ctx context.Context, w *world) (string, error) {
	if err := w.install(ctx, "plugin"); err != nil {
		return "", err
	}
	root, err := w.sh(ctx, `s='$(ls -d /var/lib/docker/plugins/*/rootfs/docker-remote-write | head -1) status'
until_true sh -c "$s"
sh -c "$s"`)
	if err != nil {
		return "", err
	}
	if !strings.Contains(root, "docker-remote-write:latest") || !strings.Contains(root, ": healthy") {
		return "", fmt.Errorf("as root, status says\n%s", root)
	}
	member, err := w.sh(ctx, `install -m 0755 /media/host/program /usr/local/bin/docker-remote-write
su member -c 'docker plugin ls -q' >/dev/null
su member -c 'docker-remote-write status' && exit 9
rm /usr/local/bin/docker-remote-write`)
	if err != nil {
		return "", err
	}
	if !strings.Contains(member, "run this as root") {
		return "", fmt.Errorf("to a member of the group docker, status says\n%s", member)
	}
	first, _, _ := strings.Cut(root, "\n")
	return "root: " + first + "\nmember of docker: " + strings.ReplaceAll(member, "\n", " "), nil
}

// fleet goes through the script's states, each one twice.
func fleet(ctx context.Context, w *world) (string, error) {
	at, err := w.at(ctx, `registry
make push REGISTRY=registry.example:5000 VERSION=v3 >/dev/null
now`)
	if err != nil {
		return "", err
	}
	const apply = "sh deploy/fleet.sh apply registry.example:5000/docker-remote-write:v3-amd64 " +
		"REMOTE_WRITE_URL=http://prometheus.example:9090/api/v1/write SCRAPE_INTERVAL=2s\n"
	out, err := w.sh(ctx, apply+apply+"until_true docker-remote-write status\ndocker-remote-write version")
	if err != nil {
		return "", err
	}
	if !strings.Contains(out, "enabled\n") || strings.Count(out, "nothing to do") != 1 {
		return "", fmt.Errorf("the script says\n%s", out)
	}
	if _, err := w.first.up(ctx, 1, at); err != nil {
		return "", err
	}
	gone, err := w.sh(ctx, "sh deploy/fleet.sh remove\nsh deploy/fleet.sh remove\ndocker plugin ls -q")
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(gone, "no such plugin") {
		return "", fmt.Errorf("the script says\n%s", gone)
	}
	return "", nil
}

// unit installs the hardened unit as its document says, restarts it and kills it.
func unit(ctx context.Context, w *world) (string, error) {
	install, err := command("deploy/README.md", "## systemd")
	if err != nil {
		return "", err
	}
	const example = "https://mimir.example/api/v1/push"
	script := strings.ReplaceAll(install, example, "http://prometheus.example:9090/api/v1/write")
	if script == install {
		return "", fmt.Errorf("deploy/README.md does not name %s", example)
	}
	at, err := w.at(ctx, `at=$(now)
`+script+`
echo SCRAPE_INTERVAL=2s >>/etc/docker-remote-write.env
systemctl restart docker-remote-write
echo $at`)
	if err != nil {
		return "", err
	}
	if _, err := w.first.up(ctx, 1, at); err != nil {
		return "", err
	}
	for _, event := range []string{"systemctl restart docker-remote-write", "systemctl kill -s KILL docker-remote-write", "reset; systemctl restart docker"} {
		if at, err = w.at(ctx, "now; "+event); err != nil {
			return "", fmt.Errorf("%s: %w", event, err)
		}
		if _, err := w.first.up(ctx, 1, at); err != nil {
			return "", fmt.Errorf("%s: %w", event, err)
		}
	}
	const socket = "/var/lib/private/docker-remote-write/rw.sock"
	b, err := w.settled(ctx, socket)
	if err != nil {
		return "", err
	}
	out, err := w.sh(ctx, `p=$(systemctl show -p MainPID --value docker-remote-write)
systemd-analyze security --no-pager docker-remote-write | tail -n 1 | sed 's/[^ -~]//g; s/^ *//'
stat -c 'state directory %A %U' /var/lib/private/docker-remote-write/.
DATA_DIR=/var/lib/private/docker-remote-write docker-remote-write status | head -n 1
grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp|VmRSS):' /proc/$p/status | tr '\t' ' '
systemctl disable --now docker-remote-write
rm /usr/local/bin/docker-remote-write /etc/docker-remote-write.env /etc/systemd/system/docker-remote-write.service
systemctl daemon-reload`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{"CapEff: 0000000000000002", "NoNewPrivs: 1", "Seccomp: 2", "run on machine: healthy"} {
		if !strings.Contains(out, want) {
			return "", fmt.Errorf("%q is not in\n%s", want, out)
		}
	}
	return fmt.Sprintf("%d samples appended, all at the receiver; %s", b.Appended, strings.ReplaceAll(out, "\n", ", ")), nil
}

// remapped has the engine map the users of its containers.
func remapped(ctx context.Context, w *world) (string, error) {
	if _, err := w.sh(ctx, `daemon '{"userns-remap": "default"}'`); err != nil {
		return "", err
	}
	if err := w.install(ctx, "plugin"); err != nil {
		return "", err
	}
	b, err := w.settled(ctx, pluginSocket)
	if err != nil {
		return "", err
	}
	out, err := w.sh(ctx, `p=$(plugin_pid)
docker info --format '{{.SecurityOptions}} {{.DockerRootDir}}'
echo "plugin's $(grep Uid /proc/$p/status | tr '\t' ' ') in the map $(tr -s ' ' </proc/$p/uid_map)"
s="$(ls -d /var/lib/docker/*.*/plugins/*/rootfs/docker-remote-write) status"
until_true $s
$s | head -n 1
remove docker-remote-write
daemon '{}'`)
	if err != nil {
		return "", err
	}
	if !strings.Contains(out, "name=userns") || !strings.Contains(out, ": healthy") {
		return "", fmt.Errorf("remapped:\n%s", out)
	}
	return fmt.Sprintf("%d samples appended, all at the receiver; %s", b.Appended, strings.ReplaceAll(out, "\n", ", ")), nil
}

// rootless has a user of the machine run an engine, with the plugin in it.
func rootless(ctx context.Context, w *world) (string, error) {
	const user = `export XDG_RUNTIME_DIR=/run/user/$(id -u) DOCKER_HOST=unix:///run/user/$(id -u)/docker.sock PATH=/usr/sbin:/sbin:$PATH
export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
`
	as := func(script string) (string, error) {
		return w.sh(ctx, "su - rootless -c "+quote("set -e\n"+user+script))
	}
	if _, err := w.sh(ctx, "loginctl enable-linger rootless\nuntil_true test -S /run/user/$(id -u rootless)/bus"); err != nil {
		return "", err
	}
	// The script of the engine's package asks for the docker command beside itself, at its end.
	if _, err := as(`export PATH=/usr/share/docker.io/contrib:$PATH
env -u DOCKER_HOST dockerd-rootless-setuptool.sh install >setup.log 2>&1 || systemctl --user is-active docker || { cat setup.log; exit 1; }
until docker version; do sleep 0.2; done`); err != nil {
		return "", err
	}
	out, err := as(`docker info --format '{{.ServerVersion}} {{.SecurityOptions}}'
docker plugin create rw /media/host/plugin >/dev/null
docker plugin set rw REMOTE_WRITE_URL=http://prometheus.example:9090/api/v1/write SCRAPE_INTERVAL=2s
docker plugin enable rw`)
	if err != nil {
		return "", err
	}
	if _, err := w.first.up(ctx, 1, 0); err != nil {
		return "", err
	}
	at, err := w.at(ctx, "now")
	if err != nil {
		return "", err
	}
	if _, err := as("systemctl --user restart docker\nuntil docker version; do sleep 0.2; done"); err != nil {
		return "", err
	}
	if _, err := w.first.up(ctx, 1, at); err != nil {
		return "", err
	}
	asked, err := as(`cd /
s='$(ls -d ~/.local/share/docker/plugins/*/rootfs/docker-remote-write | head -1) status'
in="nsenter -U --preserve-credentials -m -n -t $(cat $XDG_RUNTIME_DIR/docker.pid)"
until $in sh -c "$s" >/dev/null; do sleep 0.2; done
$in sh -c "$s" | head -n 1
grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/$(pgrep -f '^/docker-remote-write')/status | tr '\t' ' '
docker plugin disable rw
docker plugin rm rw
systemctl --user stop docker`)
	if err != nil {
		return "", err
	}
	if !strings.Contains(out, "name=rootless") || !strings.Contains(asked, ": healthy") {
		return "", fmt.Errorf("rootless:\n%s\n%s", out, asked)
	}
	return strings.ReplaceAll(out+"\n"+asked, "\n", ", "), nil
}
