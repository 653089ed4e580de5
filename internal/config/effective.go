// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// Line is one setting as it is in effect.
type Line struct {
	// Name is the setting or, of an endpoint, the key.
	Name string
	// Value is in the form in which it would be set, secrets as <secret>.
	Value string
	// Source is default or environment, and empty for an endpoint's.
	Source string
}

// Effective are all settings in the order of the reference, without those that
// are unset and have no default.
func (c *Config) Effective() []Line {
	var lines []Line
	for i := range settings {
		s := &settings[i]
		line := Line{s.Name, c.values[s.Name], "environment"}
		if line.Value == "" {
			line.Value, line.Source = s.Default, "default"
			switch s.Name {
			case "SCRAPE_TIMEOUT":
				line.Value = model.Duration(c.Timeout).String()
			case "INSTANCE":
				line.Value = c.Instance
			case "DATA_DIR":
				line.Value = c.DataDir
			}
		}
		switch {
		case line.Value == "":
			continue
		case s.Secret:
			line.Value = redact.Hidden
		case s.Name == "REMOTE_WRITE_URL":
			line.Value = displayAll(line.Value)
		case s.Type == Targets:
			line.Value = displayTargets(line.Value)
		case s.Type == Target:
			line.Value = weburl.ShowText(line.Value)
		case s.Type == PEM:
			line.Value = fmt.Sprintf("(%d bytes)", len(line.Value))
		}
		lines = append(lines, line)
	}
	return lines
}

// displayAll shows the URLs of a list; what does not parse is not shown.
func displayAll(list string) string {
	fields := strings.Fields(list)
	for i, f := range fields {
		u, err := parseURL(f)
		if err != nil {
			fields[i] = redact.Hidden
			continue
		}
		fields[i] = weburl.Show(u)
	}
	return strings.Join(fields, " ")
}

// Effective is what an endpoint came to, for people: credentials by their kind.
func (e *Endpoint) Effective() []Line {
	lines := []Line{
		{Name: "name", Value: e.Name},
		{Name: "url", Value: weburl.Show(e.URL)},
		{Name: "protocol", Value: e.Protocol},
		{Name: "authentication", Value: authentication(e)},
		{Name: "timeout", Value: model.Duration(e.Timeout).String()},
		{Name: "max_samples_per_send", Value: fmt.Sprint(e.MaxSamples)},
		{Name: "batch_send_deadline", Value: model.Duration(e.Deadline).String()},
		{Name: "backoff", Value: backoff(e.MinBackoff, e.MaxBackoff)},
	}
	var omitted []string
	for _, o := range []struct {
		omit bool
		what string
	}{{e.OmitMetadata, "metadata"}, {e.OmitExemplars, "exemplars"}, {e.OmitNativeHistograms, "native histograms"}} {
		if o.omit {
			omitted = append(omitted, o.what)
		}
	}
	if len(omitted) > 0 {
		lines = append(lines, Line{Name: "left_out", Value: strings.Join(omitted, ", ")})
	}
	if e.DropOn429 {
		lines = append(lines, Line{Name: "retry_on_http_429", Value: "false"})
	}
	if len(e.Relabel) > 0 {
		lines = append(lines, Line{Name: "write_relabel_configs", Value: fmt.Sprintf("%d rules", len(e.Relabel))})
	}
	return lines
}

func backoff(low, high time.Duration) string {
	return model.Duration(low).String() + " to " + model.Duration(high).String()
}

func authentication(e *Endpoint) string {
	c := &e.Client
	var kinds []string
	add := func(set bool, kind string) {
		if set {
			kinds = append(kinds, kind)
		}
	}
	add(c.BasicAuth != nil, "basic")
	add(c.Authorization != nil, "bearer")
	add(c.OAuth2 != nil, "oauth2")
	add(e.Cloud.Set(), e.Cloud.String())
	add(c.TLSConfig.Cert != "" || c.TLSConfig.CertFile != "", "client certificate")
	if len(kinds) == 0 {
		return "none"
	}
	return strings.Join(kinds, " and ")
}

// Write prints the effective settings and, after them, the targets and the endpoints.
func (c *Config) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, l := range c.Effective() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", l.Name, printable(l.Value), l.Source)
	}
	for i, target := range c.Targets() {
		fmt.Fprintf(t, "\ntarget %d\n", i+1)
		for _, l := range target.Effective() {
			fmt.Fprintf(t, "  %s\t%s\n", l.Name, printable(l.Value))
		}
	}
	for i := range c.Endpoints {
		fmt.Fprintf(t, "\nendpoint %d\n", i+1)
		for _, l := range c.Endpoints[i].Effective() {
			fmt.Fprintf(t, "  %s\t%s\n", l.Name, printable(l.Value))
		}
	}
	return t.Flush()
}

// printable keeps a value on its line of the table.
func printable(v string) string {
	if strings.ContainsAny(v, "\n\r\t\v\f\x1b") {
		return quote(v)
	}
	return v
}
