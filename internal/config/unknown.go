// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
)

// shared are the beginnings of our names that programs of all kinds use as
// well. A name with one of them is taken for ours only if it is close to ours.
var shared = []string{"HTTP_", "HTTPS_", "NO_", "LOG_", "DATA_", "MAX_", "MIN_", "CONFIG_", "STATUS_", "SELF_", "BATCH_", "ALWAYS_", "JOB_", "INSTANCE_"}

// unknownNames warns of names that look like settings and are none. The engine
// refuses such names itself.
func (l *loader) unknownNames() {
	var odd []string
	for name, value := range l.env {
		if value != "" && len(name) < 100 && find(name) == nil && !proxyVariable(name) {
			odd = append(odd, name)
		}
	}
	slices.Sort(odd)
	for _, name := range odd {
		near, distance := nearest(strings.ToUpper(name))
		if likeOurs(strings.ToUpper(name), near, distance) {
			l.warn(name, "is no setting; did you mean %s?", near)
		}
	}
}

// proxyVariable reports whether the name is one that HTTP clients read beside
// the settings.
func proxyVariable(name string) bool {
	switch name {
	case "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY", "all_proxy", "FTP_PROXY", "ftp_proxy":
		return true
	}
	return false
}

// likeOurs reports whether a name begins like one of ours: like no other
// program's, like a whole setting, or with few letters changed.
func likeOurs(name, near string, distance int) bool {
	if distance <= len(near)/5 {
		return true
	}
	for i := range settings {
		ours := settings[i].Name
		if strings.HasPrefix(name, ours) && (len(ours) >= 8 || len(name)-len(ours) == 1 || name[len(ours)] == '_') {
			return true
		}
		if prefix, _, ok := strings.Cut(ours, "_"); ok && strings.HasPrefix(name, prefix+"_") && !slices.Contains(shared, prefix+"_") {
			return true
		}
	}
	return false
}

// nearest is the setting whose name takes the fewest changed, added or left out
// letters; on a tie the first in the table.
func nearest(name string) (string, int) {
	best, least := "", int(^uint(0)>>1)
	for i := range settings {
		if d := editDistance(name, settings[i].Name); d < least {
			best, least = settings[i].Name, d
		}
	}
	return best, least
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
