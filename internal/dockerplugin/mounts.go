// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
)

// mount is one line of /proc/self/mountinfo, proc_pid_mountinfo(5): what the
// kernel says is mounted, where `docker plugin inspect` can be wrong.
type mount struct {
	// Source is the directory or file on the host, from the root of its file system.
	Source, Target, Type string
	ReadOnly             bool
}

func parseMounts(info []byte) []mount {
	var out []mount
	for line := range bytes.Lines(info) {
		before, after, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 1 {
			continue
		}
		out = append(out, mount{
			Source: unescape(f[3]), Target: unescape(f[4]), Type: g[0],
			ReadOnly: strings.HasPrefix(f[5]+",", "ro,"),
		})
	}
	return out
}

// unescape resolves the kernel's \ooo for white space and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// logMounts tells which of the host's files the plugin has: its data directory,
// its configuration and the engine's socket.
func logMounts(log logrus.FieldLogger) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for _, m := range parseMounts(info) {
		switch m.Target {
		case "/data", "/config", "/run/docker", MetricsSocket:
			log.WithFields(logrus.Fields{"at": m.Target, "source": m.Source, "type": m.Type, "read_only": m.ReadOnly}).Info("mounted")
		}
	}
}
