# SPDX-License-Identifier: Apache-2.0
# What the scripts in a machine share; each begins by reading this.
export GO=/media/host/go ARCHES=amd64
cd /root/docker-remote-write 2>/dev/null || true

now() { date +%s%3N; }
# plugin_pid is the plugin's process, the only one whose program is named so from the root of its file system.
plugin_pid() { pgrep -f '^/docker-remote-write' | head -n 1; }
# another PID: waits until the plugin is another process.
another() { until p=$(plugin_pid) && [ -n "$p" ] && [ "$p" != "$1" ]; do sleep 0.1; done; }
# reset lets a unit be restarted as often as a test likes: systemd refuses after a few times.
reset() { systemctl reset-failed docker.service docker.socket 2>/dev/null || true; }
# until_true COMMAND...: waits for what no event tells of; whoever asked has a limit.
until_true() { until "$@" >/dev/null 2>&1; do sleep 0.2; done; }
# daemon SETTINGS: the engine's daemon.json, and an engine that has it.
daemon() { mkdir -p /etc/docker && echo "$1" >/etc/docker/daemon.json && reset && systemctl restart docker; }
# registry starts the distribution's, which takes everybody once its passwords are off.
registry() {
	sed -i '/^auth:/,/^ *path:/d' /etc/docker/registry/config.yml
	systemctl start docker-registry
	until_true curl -sf http://registry.example:5000/v2/
}
# remove PLUGIN...: whatever state it is in.
remove() { for p; do docker plugin rm -f "$p" >/dev/null 2>&1 || true; done; }
