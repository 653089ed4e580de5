#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fleet.sh brings the plugin of one host to the wanted state, and does nothing when it is there already.
#
#   fleet.sh apply REFERENCE [KEY=VALUE...]   install or upgrade to REFERENCE, set, enable
#   fleet.sh remove                           remove the plugin, its queue and the link
#
# REFERENCE is what `docker plugin install` takes; each setting not named stays as it is; KEY= unsets one.
# Environment: NAME, the plugin's name here (docker-remote-write); LINK, where the command is linked to
# (/usr/local/bin/docker-remote-write, empty for nowhere); FORCE=1 upgrades even if the reference is the same.
# Needs the docker command and, for the link, root. It asks nothing and prints one line for each thing it did.
set -eu
name=${NAME:-docker-remote-write}
link=${LINK-/usr/local/bin/docker-remote-write}

say() { echo "$name: $*"; }
die() { echo "$name: $*" >&2; exit 1; }
usage() { sed -n '4,6s/^# *//p' "$0" >&2; exit 2; }
inspect() { docker plugin inspect --format "$1" "$name" 2>/dev/null; }

# full is a reference as the engine spells it: with a registry and a tag.
full() {
	ref=$1
	case ${ref##*/} in *:* | *@*) ;; *) ref=$ref:latest ;; esac
	case $ref in
		*/*)
			case ${ref%%/*} in *.* | *:* | localhost) ;; *) ref=docker.io/$ref ;; esac ;;
		*) ref=docker.io/library/$ref ;;
	esac
	echo "$ref"
}

# differs is true if KEY=VALUE is not what the plugin has. Values may hold anything, line ends too.
differs() {
	case ${1%%=*} in
		*.source)
			! inspect '{{range .Settings.Mounts}}{{.Name}}.source={{.Source}}{{println}}{{end}}' | grep -qFx -- "$1" ;;
		*)
			quoted=$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }')
			found=$(inspect "{{range .Settings.Env}}{{if eq . \"$quoted\"}}x{{end}}{{end}}")
			# A setting that was never made and one that is empty are the same.
			if [ -z "$found" ] && [ -z "${1#*=}" ]; then
				found=$(inspect "{{range .Settings.Env}}{{println .}}{{end}}" | grep -q "^${1%%=*}=" || echo x)
			fi
			[ -z "$found" ] ;;
	esac
}

enabled() { [ "$(inspect '{{.Enabled}}')" = true ]; }
disable() { if enabled; then docker plugin disable "$name" >/dev/null; fi; }

program() { # where the plugin's program lies on the host
	echo "$(docker info --format '{{.DockerRootDir}}')/plugins/$(inspect '{{.Id}}')/rootfs/docker-remote-write"
}

apply() {
	ref=$1; shift
	for kv; do
		case $kv in
			[A-Za-z]*=*) ;;
			*) die "setting '$kv': KEY=VALUE is wanted" ;;
		esac
	done
	changed=
	if ! has=$(inspect '{{.PluginReference}}'); then
		docker plugin install --grant-all-permissions --disable --alias "$name" "$ref" >/dev/null
		say "installed $ref"
		changed=1
	elif [ "$(full "$has")" != "$(full "$ref")" ] || [ -n "${FORCE:-}" ]; then
		disable
		docker plugin upgrade --grant-all-permissions --skip-remote-check "$name" "$ref" >/dev/null
		say "upgraded from $has to $ref; queue and settings stay"
		changed=1
	fi
	for kv; do
		if differs "$kv"; then
			disable
			docker plugin set "$name" "$kv" || die "${kv%%=*} could not be set; the plugin is installed and disabled"
			say "set ${kv%%=*}"
			changed=1
		fi
	done
	if ! enabled; then
		docker plugin enable "$name" >/dev/null
		say "enabled"
		changed=1
	fi
	if [ -n "$link" ] && [ -w "$(dirname "$link")" ]; then
		target=$(program)
		if [ -e "$link" ] && [ ! -L "$link" ]; then
			say "$link is a file of someone else's: not linked"
		elif [ "$(readlink "$link" || true)" != "$target" ]; then
			ln -sfn "$target" "$link"
			say "linked $link"
			changed=1
		fi
	fi
	[ -n "$changed" ] || say "nothing to do"
}

remove() {
	if [ -n "$link" ] && [ -L "$link" ]; then
		case $(readlink "$link") in
			*/plugins/*/rootfs/docker-remote-write) rm "$link"; say "removed the link $link" ;;
		esac
	fi
	if inspect '{{.Id}}' >/dev/null; then
		disable
		docker plugin rm "$name" >/dev/null
		say "removed the plugin and its queue"
	else
		say "no such plugin"
	fi
}

[ $# -ge 1 ] || usage
command -v docker >/dev/null || die "the docker command is missing"
docker version --format x >/dev/null 2>&1 || die "the engine does not answer: is it running, and may this user use it?"
command=$1; shift
case $command in
	apply) [ $# -ge 1 ] || usage; apply "$@" ;;
	remove) [ $# = 0 ] || usage; remove ;;
	*) usage ;;
esac
