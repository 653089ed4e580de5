// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// fileConfig is a CONFIG_FILE: the remote_write list of a prometheus.yml.
type fileConfig struct {
	RemoteWrite []*remoteWrite `yaml:"remote_write"`
}

// remoteWrite has every key of an entry of Prometheus' remote_write list, so
// that such a list can be copied as it is.
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#remote_write
type remoteWrite struct {
	// The URL is a string, since the error of a URL that does not parse would
	// show the credentials in it.
	URL                  string            `yaml:"url"`
	RemoteTimeout        *model.Duration   `yaml:"remote_timeout"`
	Headers              map[string]string `yaml:"headers"`
	WriteRelabelConfigs  []*relabel.Config `yaml:"write_relabel_configs"`
	Name                 string            `yaml:"name"`
	SendExemplars        *bool             `yaml:"send_exemplars"`
	SendNativeHistograms *bool             `yaml:"send_native_histograms"`
	RoundRobinDNS        *bool             `yaml:"round_robin_dns"`
	ProtobufMessage      string            `yaml:"protobuf_message"`
	FailedRequestLogging *bool             `yaml:"failed_request_logging"`

	HTTP           promconfig.HTTPClientConfig `yaml:",inline"`
	QueueConfig    queueConfig                 `yaml:"queue_config"`
	MetadataConfig metadataConfig              `yaml:"metadata_config"`

	SigV4     *cloudauth.SigV4     `yaml:"sigv4"`
	AzureAD   *cloudauth.AzureAD   `yaml:"azuread"`
	GoogleIAM *cloudauth.GoogleIAM `yaml:"google_iam"`
}

// UnmarshalYAML decodes strictly over the defaults of the HTTP client, whose
// own method an inlined struct is not asked for.
func (r *remoteWrite) UnmarshalYAML(unmarshal func(any) error) error {
	type plain remoteWrite
	*r = remoteWrite{HTTP: promconfig.DefaultHTTPClientConfig}
	return unmarshal((*plain)(r))
}

type queueConfig struct {
	Capacity          *int            `yaml:"capacity"`
	MaxShards         *int            `yaml:"max_shards"`
	MinShards         *int            `yaml:"min_shards"`
	MaxSamplesPerSend *int            `yaml:"max_samples_per_send"`
	BatchSendDeadline *model.Duration `yaml:"batch_send_deadline"`
	MinBackoff        *model.Duration `yaml:"min_backoff"`
	MaxBackoff        *model.Duration `yaml:"max_backoff"`
	RetryOnRateLimit  *bool           `yaml:"retry_on_http_429"`
	SampleAgeLimit    *model.Duration `yaml:"sample_age_limit"`
}

type metadataConfig struct {
	Send              *bool           `yaml:"send"`
	SendInterval      *model.Duration `yaml:"send_interval"`
	MaxSamplesPerSend *int            `yaml:"max_samples_per_send"`
}

// LoadFile reads a file with Prometheus' remote_write list. What an entry
// leaves out is taken from base: Protocol, Timeout, HoldOnAuthError, the fields
// that bound requests and waits or leave something out, and the proxy of Client. Relative paths in the
// file are relative to its directory. Errors name the entry or the line and
// never show a value that may be secret.
func LoadFile(path string, base Endpoint) ([]Endpoint, []Warning, error) {
	text, err := readFile(&path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	endpoints, warnings, err := parseFile([]byte(text), filepath.Dir(path), base)
	if err != nil {
		return nil, warnings, fmt.Errorf("%s: %w", path, err)
	}
	return endpoints, warnings, nil
}

func parseFile(text []byte, dir string, base Endpoint) ([]Endpoint, []Warning, error) {
	if err := checkTopLevel(text); err != nil {
		return nil, nil, err
	}
	var f fileConfig
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return nil, nil, locate(text, err)
	}
	if len(f.RemoteWrite) == 0 {
		return nil, nil, errors.New("has no entry under remote_write; give at least one with a url")
	}
	if n := len(f.RemoteWrite); n > maxEndpoints {
		return nil, nil, fmt.Errorf("has %d entries under remote_write; give at most %d", n, maxEndpoints)
	}
	// Once more without types, since those hide secrets when they are written.
	var raw struct {
		RemoteWrite []value `yaml:"remote_write"`
	}
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return nil, nil, yamlError(err)
	}
	var (
		endpoints []Endpoint
		warnings  []Warning
		errs      []error
		idle      []string
	)
	names, urls := map[string]bool{}, map[string]bool{}
	for i, r := range f.RemoteWrite {
		if r == nil {
			errs = append(errs, fmt.Errorf("remote_write entry %d is empty; give it a url", i+1))
			continue
		}
		where := fmt.Sprintf("remote_write entry %d", i+1)
		if i < len(raw.RemoteWrite) {
			where = fmt.Sprintf("line %d: %s", raw.RemoteWrite[i].line, where)
		}
		if r.Name != "" {
			where += " (" + quote(r.Name) + ")"
		}
		e, problems := r.endpoint(dir, base)
		if i < len(raw.RemoteWrite) {
			problems = append(problems, emptyClouds(raw.RemoteWrite[i].raw)...)
			e.entry = fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%#v", raw.RemoteWrite[i].raw)))
		}
		if e.Name != "" && names[e.Name] {
			problems = append(problems, errors.New("name stands there twice; names must differ"))
		}
		names[e.Name] = true
		if e.URL != nil {
			// The same URL may be meant twice with different relabelling.
			key := weburl.Requested(e.URL).String()
			if urls[key] && e.Name == "" {
				problems = append(problems, errors.New("has the URL of an entry before it; give it a name to tell the two apart"))
			}
			urls[key] = true
		}
		for _, p := range problems {
			errs = append(errs, fmt.Errorf("%s: %w", where, p))
		}
		endpoints = append(endpoints, e)
		idle = append(idle, r.idleKeys()...)
		warnings = append(warnings, oddFiles(where, &e.Client)...)
	}
	if len(idle) > 0 {
		slices.Sort(idle)
		warnings = append(warnings, Warning{"CONFIG_FILE", "these keys of Prometheus have no meaning here and are left aside: " +
			strings.Join(slices.Compact(idle), ", ")})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, warnings, err
	}
	nameEndpoints(endpoints)
	return endpoints, warnings, nil
}

// endpoint turns one entry into an endpoint and reports all that is wrong.
func (r *remoteWrite) endpoint(dir string, base Endpoint) (Endpoint, []error) {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	e := base
	e.Name = strings.TrimSpace(r.Name)
	if err := checkLabelValue(e.Name); err != nil {
		bad("name %w", err)
	}
	e.Relabel, e.Headers = r.WriteRelabelConfigs, r.Headers
	switch {
	case r.URL == "":
		bad("url is missing; give the receiver's remote write URL")
	default:
		u, err := parseURL(r.URL)
		if err != nil {
			bad("url: %w", err)
		}
		e.URL = u
	}
	switch r.ProtobufMessage {
	case "":
	case "prometheus.WriteRequest":
		e.Protocol = "1.0"
	case "io.prometheus.write.v2.Request":
		e.Protocol = "2.0"
	default:
		bad("protobuf_message is %s; give prometheus.WriteRequest, io.prometheus.write.v2.Request or leave it out to negotiate", quote(r.ProtobufMessage))
	}
	errs = append(errs, r.lists()...)
	bounded := func(key, setting string, v *model.Duration, to *time.Duration) {
		if v == nil {
			return
		}
		if *to = time.Duration(*v); inRange(find(setting), *to, parseDuration) != nil {
			bad("%s is %s; give %s", key, v, find(setting).Range())
		}
	}
	q := &r.QueueConfig
	bounded("remote_timeout", "REMOTE_WRITE_TIMEOUT", r.RemoteTimeout, &e.Timeout)
	bounded("queue_config.batch_send_deadline", "BATCH_SEND_DEADLINE", q.BatchSendDeadline, &e.Deadline)
	bounded("queue_config.min_backoff", "MIN_BACKOFF", q.MinBackoff, &e.MinBackoff)
	bounded("queue_config.max_backoff", "MAX_BACKOFF", q.MaxBackoff, &e.MaxBackoff)
	if q.MaxSamplesPerSend != nil {
		if e.MaxSamples = *q.MaxSamplesPerSend; inRange(find("MAX_SAMPLES_PER_SEND"), e.MaxSamples, parseCount) != nil {
			bad("queue_config.max_samples_per_send is %d; give %s", e.MaxSamples, find("MAX_SAMPLES_PER_SEND").Range())
		}
	}
	if e.MinBackoff > e.MaxBackoff {
		// A file that sets one of the two means it; the other follows.
		switch {
		case q.MinBackoff != nil && q.MaxBackoff != nil:
			bad("queue_config.min_backoff is longer than queue_config.max_backoff; make it at most as long")
		case q.MinBackoff != nil:
			e.MaxBackoff = e.MinBackoff
		default:
			e.MinBackoff = e.MaxBackoff
		}
	}
	for _, o := range []struct {
		send *bool
		omit *bool
	}{{r.SendExemplars, &e.OmitExemplars}, {r.SendNativeHistograms, &e.OmitNativeHistograms}, {r.MetadataConfig.Send, &e.OmitMetadata}} {
		if o.send != nil {
			*o.omit = !*o.send
		}
	}
	e.DropOn429 = q.RetryOnRateLimit != nil && !*q.RetryOnRateLimit
	errs = append(errs, r.client(&e, dir, base.Client)...)
	return e, errs
}

// idleKeys are the keys set in the entry that have no meaning here: there is
// one ordered sender, metadata has no schedule to set, and
// redirects have a rule of their own.
func (r *remoteWrite) idleKeys() []string {
	q, m := &r.QueueConfig, &r.MetadataConfig
	var keys []string
	for _, k := range []struct {
		set bool
		key string
	}{
		{r.RoundRobinDNS != nil, "round_robin_dns"},
		{r.FailedRequestLogging != nil, "failed_request_logging"},
		{q.Capacity != nil, "queue_config.capacity"},
		{q.MaxShards != nil, "queue_config.max_shards"},
		{q.MinShards != nil, "queue_config.min_shards"},
		{q.SampleAgeLimit != nil, "queue_config.sample_age_limit (SPOOL_MAX_AGE holds for all)"},
		{m.SendInterval != nil, "metadata_config.send_interval"},
		{m.MaxSamplesPerSend != nil, "metadata_config.max_samples_per_send"},
	} {
		if k.set {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// tokenURL checks the URL of an OAuth2 server, which may hold credentials.
func tokenURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("oauth2.token_url is not an http or https URL")
	}
	return nil
}

// lists checks the headers, in order, so that the same file is refused with the same
// words, and the rules.
func (r *remoteWrite) lists() (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if err := checkHeader(name, r.Headers[name]); err != nil {
			errs = append(errs, fmt.Errorf("headers: %w", err))
		}
	}
	for i, c := range r.WriteRelabelConfigs {
		if c == nil {
			errs = append(errs, fmt.Errorf("write_relabel_configs: rule %d is empty", i+1))
		} else if err := c.Validate(model.UTF8Validation); err != nil {
			errs = append(errs, fmt.Errorf("write_relabel_configs: rule %d: %w", i+1, err))
		}
	}
	return errs
}
