// SPDX-License-Identifier: Apache-2.0

package config

var settings = []Setting{
	{
		Name: "REMOTE_WRITE_URL", Group: groupReceiver, Type: URLs,
		Example: "https://mimir.example.org/api/v1/push",
		Help: "Where to send: the receiver's remote write URL. Several, separated by white space, 32 at most, each receive everything; with credentials in settings they must have one scheme, host and port, else use CONFIG_FILE. " +
			"User name and password in a URL become basic authentication. Required, unless CONFIG_FILE is set.",
	},
	{
		Name: "REMOTE_WRITE_PROTOCOL", Group: groupReceiver, Type: Choice, Default: "auto", Choices: []string{"auto", "2.0", "1.0"},
		Help: "The version of the remote write protocol. `auto` starts with 2.0 and falls back to 1.0 where the receiver does not understand it.",
		dest: func(l *loader) any { return &l.base.Protocol },
	},
	{
		Name: "CONFIG_FILE", Group: groupReceiver, Type: Path, Example: "/data/remote-write.yml",
		Help: "A YAML file with Prometheus' own `remote_write:` list, for all that the environment cannot say: several endpoints with credentials " +
			"of their own, OAuth2, `write_relabel_configs`. It is re-read when it changes. Not together with REMOTE_WRITE_URL, nor with the settings under Credentials and TLS " +
			"but the proxies: what belongs to one receiver stands in the file, which has 32 entries at most. " +
			"The settings under Sending, and REMOTE_WRITE_PROTOCOL, hold for the keys that the file leaves out.",
		dest: func(l *loader) any { return &l.cfg.ConfigFile },
	},

	{
		Name: "REMOTE_WRITE_USERNAME", Group: groupAuth, Type: Text, Example: "tenant-1",
		Help: "User name for basic authentication.",
		dest: func(l *loader) any { return &l.cred.username },
	},
	{
		Name: "REMOTE_WRITE_PASSWORD", Group: groupAuth, Type: Text, Secret: true, Example: "s3cr3t",
		Help: "Password for basic authentication.",
		dest: func(l *loader) any { return &l.cred.password },
	},
	{
		Name: "REMOTE_WRITE_PASSWORD_FILE", Group: groupAuth, Type: Path, Example: "/data/password",
		Help: "File with that password, read again for each request.",
		dest: func(l *loader) any { return &l.cred.passwordFile },
	},
	{
		Name: "REMOTE_WRITE_BEARER_TOKEN", Group: groupAuth, Type: Text, Secret: true, Example: "eyJhbGciOi",
		Help: "Bearer token.",
		dest: func(l *loader) any { return &l.cred.token },
	},
	{
		Name: "REMOTE_WRITE_BEARER_TOKEN_FILE", Group: groupAuth, Type: Path, Example: "/data/token",
		Help: "File with the bearer token, read again for each request.",
		dest: func(l *loader) any { return &l.cred.tokenFile },
	},
	{
		Name: "REMOTE_WRITE_SIGV4_REGION", Group: groupAuth, Type: Text, Example: "eu-west-1",
		Help: "Sign requests for Amazon Managed Service for Prometheus in that region, as the instance's role.",
		dest: func(l *loader) any { return &l.cred.sigv4Region },
	},
	{
		Name: "REMOTE_WRITE_SIGV4_ROLE_ARN", Group: groupAuth, Type: Text, Example: "arn:aws:iam::123456789012:role/metrics",
		Help: "A role that the instance's role assumes first, such as one of another account.",
		dest: func(l *loader) any { return &l.cred.sigv4RoleARN },
	},
	{
		Name: "REMOTE_WRITE_AZURE_CLIENT_ID", Group: groupAuth, Type: Text, Example: "00000000-0000-0000-0000-000000000000",
		Help: "Client ID of the host's managed identity, for tokens of Azure AD for an Azure Monitor workspace.",
		dest: func(l *loader) any { return &l.cred.azureClientID },
	},
	{
		Name: "REMOTE_WRITE_GOOGLE_IAM", Group: groupAuth, Type: Bool, Default: "false",
		Help: "Send tokens of the instance's service account, for Google Cloud Managed Service for Prometheus.",
		dest: func(l *loader) any { return &l.cred.googleIAM },
	},
	{
		Name: "REMOTE_WRITE_TENANT", Group: groupAuth, Type: Text, Example: "team-a",
		Help: "Tenant of Mimir or Cortex, sent as `X-Scope-OrgID`. For another header use REMOTE_WRITE_HEADERS.",
		dest: func(l *loader) any { return &l.cred.tenant },
	},
	{
		Name: "REMOTE_WRITE_HEADERS", Group: groupAuth, Type: Pairs, Secret: true, Example: "THANOS-TENANT=team-a,X-Zone=eu",
		Help: "Further headers of each request. A value with a comma stands in double quotes. Headers of the protocol and `Authorization` are refused.",
	},
	{
		Name: "REMOTE_WRITE_CA", Group: groupAuth, Type: PEM, Example: "-----BEGIN CERTIFICATE-----\\n...",
		Help: "Certificates of the authorities to trust in place of the built-in ones.",
		dest: func(l *loader) any { return &l.cred.ca },
	},
	{
		Name: "REMOTE_WRITE_CA_FILE", Group: groupAuth, Type: Path, Example: "/data/ca.pem",
		Help: "File with those certificates, re-read when it changes.",
		dest: func(l *loader) any { return &l.cred.caFile },
	},
	{
		Name: "REMOTE_WRITE_CERT", Group: groupAuth, Type: PEM, Example: "-----BEGIN CERTIFICATE-----\\n...",
		Help: "Client certificate.",
		dest: func(l *loader) any { return &l.cred.cert },
	},
	{
		Name: "REMOTE_WRITE_CERT_FILE", Group: groupAuth, Type: Path, Example: "/data/client.pem",
		Help: "File with the client certificate, re-read when it changes.",
		dest: func(l *loader) any { return &l.cred.certFile },
	},
	{
		Name: "REMOTE_WRITE_KEY", Group: groupAuth, Type: PEM, Secret: true, Example: "-----BEGIN PRIVATE KEY-----\\n...",
		Help: "Private key of the client certificate.",
		dest: func(l *loader) any { return &l.cred.key },
	},
	{
		Name: "REMOTE_WRITE_KEY_FILE", Group: groupAuth, Type: Path, Example: "/data/client-key.pem",
		Help: "File with that private key, re-read when it changes.",
		dest: func(l *loader) any { return &l.cred.keyFile },
	},
	{
		Name: "REMOTE_WRITE_SERVER_NAME", Group: groupAuth, Type: Text, Example: "mimir.internal",
		Help: "The name to expect in the receiver's certificate, if it is not the URL's.",
		dest: func(l *loader) any { return &l.cred.serverName },
	},
	{
		Name: "REMOTE_WRITE_INSECURE_SKIP_VERIFY", Group: groupAuth, Type: Bool, Default: "false",
		Help: "Accept any certificate of the receiver. Anyone in between can then read the credentials.",
		dest: func(l *loader) any { return &l.cred.insecure },
	},
	{
		Name: "HTTP_PROXY", Group: groupAuth, Type: Target, Secret: true, Example: "http://proxy.example.org:3128",
		Help: "Proxy for http receivers. The engine does not hand its own proxy settings to plugins.",
	},
	{
		Name: "HTTPS_PROXY", Group: groupAuth, Type: Target, Secret: true, Example: "http://proxy.example.org:3128",
		Help: "Proxy for https receivers.",
	},
	{
		Name: "NO_PROXY", Group: groupAuth, Type: Text, Example: "10.0.0.0/8,.internal",
		Help: "Hosts, domains and networks that are reached without the proxy.",
		dest: func(l *loader) any { return new(string) },
	},

	{
		Name: "REMOTE_WRITE_TIMEOUT", Group: groupSending, Type: Duration, Default: "30s", Min: "100ms", Max: "10m",
		Help: "How long one attempt may take, connecting included.",
		dest: func(l *loader) any { return &l.base.Timeout },
	},
	{
		Name: "REMOTE_WRITE_HOLD_ON_AUTH_ERROR", Group: groupSending, Type: Bool, Default: "false",
		Help: "Keep a request that was answered with 401, 402, 403 or 404 and try it again, in place of dropping it.",
		dest: func(l *loader) any { return &l.base.HoldOnAuthError },
	},
	{
		Name: "MAX_SAMPLES_PER_SEND", Group: groupSending, Type: Count, Default: "30000", Min: "1", Max: "1000000",
		Help: "Samples in one request. Of one scrape it carries at most a third of them, or 10,000 if that is more.",
		dest: func(l *loader) any { return &l.base.MaxSamples },
	},
	{
		Name: "MAX_REQUEST_BYTES", Group: groupSending, Type: Size, Default: "1MiB", Min: "64KiB", Max: "32MiB",
		Help: "Size of one request before compression. Receivers limit it; Amazon's takes 1 MiB.",
		dest: func(l *loader) any { return &l.base.MaxBytes },
	},
	{
		Name: "BATCH_SEND_DEADLINE", Group: groupSending, Type: Duration, Default: "0s", Min: "1ms", Max: "1h", ZeroMeans: "send each scrape at once",
		Help: "How long a scrape may wait to be sent together with the next ones. `1m` merges four scrapes and saves some 70 % of the bandwidth.",
		dest: func(l *loader) any { return &l.base.Deadline },
	},
	{
		Name: "MIN_BACKOFF", Group: groupSending, Type: Duration, Default: "500ms", Min: "10ms", Max: "1h",
		Help: "First wait after a failed attempt. Later ones are at most a quarter of the time since the first failure; each is shortened at random by up to a half.",
		dest: func(l *loader) any { return &l.base.MinBackoff },
	},
	{
		Name: "MAX_BACKOFF", Group: groupSending, Type: Duration, Default: "1m", Min: "10ms", Max: "1h",
		Help: "Longest wait after a failed attempt.",
		dest: func(l *loader) any { return &l.base.MaxBackoff },
	},
	{
		Name: "MAX_SAMPLES_PER_SECOND", Group: groupSending, Type: Count, Default: "0", Min: "1", Max: "1000000000", ZeroMeans: "no limit",
		Help: "Limit while catching up after an outage, to spare a receiver that serves a fleet.",
		dest: func(l *loader) any { return &l.base.RateLimit },
	},
	{
		Name: "SEND_METADATA", Group: groupSending, Type: Bool, Default: "true",
		Help:  "Send type, help text and unit of each metric. `false` saves a third of the bandwidth where each scrape is a request of its own.",
		dest:  func(l *loader) any { return &l.send.metadata },
		check: func(l *loader) error { l.base.OmitMetadata = !l.send.metadata; return nil },
	},
	{
		Name: "SEND_EXEMPLARS", Group: groupSending, Type: Bool, Default: "true",
		Help:  "Send exemplars, where the target has any.",
		dest:  func(l *loader) any { return &l.send.exemplars },
		check: func(l *loader) error { l.base.OmitExemplars = !l.send.exemplars; return nil },
	},
	{
		Name: "SEND_NATIVE_HISTOGRAMS", Group: groupSending, Type: Bool, Default: "true",
		Help: "Send the native histograms that SCRAPE_NATIVE_HISTOGRAMS has scraped. `false` leaves out those that wait as well, for a receiver that " +
			"answers 5xx to them; they are counted as `relabelled`.",
		dest:  func(l *loader) any { return &l.send.nativeHistograms },
		check: func(l *loader) error { l.base.OmitNativeHistograms = !l.send.nativeHistograms; return nil },
	},

	{
		Name: "SCRAPE_TARGET", Group: groupScrape, Type: Target, Default: "unix:///run/docker/metrics.sock",
		Example: "http://127.0.0.1:9323/metrics",
		Help:    "The engine's metrics: `unix:///path/of/socket` or `http://host:port/metrics`.",
		dest:    func(l *loader) any { return &l.cfg.Target }, check: checkTarget,
	},
	{
		Name: extraTargets, Group: groupScrape, Type: Targets, Example: "node=http://127.0.0.1:9100/metrics,db@1m=http://10.0.0.5:9187/metrics",
		Help: "What else is scraped, besides the engine: the name is the label `job`, an interval of its own may follow it. `instance` is INSTANCE for a socket, " +
			"`localhost` or a loopback address, else the URL's `host:port`. A target that asks for credentials cannot be scraped. `http://`, `https://` and `unix:///path/of/socket:/http/path`; 31 of them at most.",
	},
	{
		Name: "EXTRA_TARGETS_CA", Group: groupScrape, Type: PEM, Example: "-----BEGIN CERTIFICATE-----\\n...",
		Help: "Certificates of the authorities that https targets are trusted by. No others are.",
		dest: func(l *loader) any { return &l.extraCA }, check: func(l *loader) error {
			if l.extraCA == "" {
				return nil
			}
			return checkCA(l.extraCA)
		},
	},
	{
		Name: "EXTRA_TARGETS_INSECURE_SKIP_VERIFY", Group: groupScrape, Type: Bool, Default: "false",
		Help: "Accept any certificate of an https target.",
		dest: func(l *loader) any { return &l.extraInsecure },
	},
	{
		Name: "SCRAPE_INTERVAL", Group: groupScrape, Type: Duration, Default: "15s", Min: "100ms", Max: "1h",
		Help: "Time between two scrapes of a target.",
		dest: func(l *loader) any { return &l.cfg.Interval },
	},
	{
		Name: "SCRAPE_TIMEOUT", Group: groupScrape, Type: Duration, DefaultText: "10s, or SCRAPE_INTERVAL if that is shorter", Min: "10ms", Max: "1h",
		Example: "5s",
		Help:    "How long one scrape may take; at most SCRAPE_INTERVAL.",
		dest:    func(l *loader) any { return &l.cfg.Timeout },
	},
	{
		Name: "SCRAPE_MAX_BYTES", Group: groupScrape, Type: Size, Default: "16MiB", Min: "64KiB", Max: "256MiB",
		Help: "Largest answer, uncompressed; with EXTRA_TARGETS the room of all targets together, half of it shared out evenly. A larger one fails the scrape.",
		dest: func(l *loader) any { return &l.cfg.MaxBytes },
	},
	{
		Name: "SCRAPE_SAMPLE_LIMIT", Group: groupScrape, Type: Count, Default: "50000", Min: "1", Max: "1000000",
		Help: "Most samples of a target in a scrape, after METRICS_KEEP and METRICS_DROP. More of them, or four times as many left out, fail the scrape.",
		dest: func(l *loader) any { return &l.cfg.SampleLimit },
	},
	{
		Name: "SCRAPE_NATIVE_HISTOGRAMS", Group: groupScrape, Type: Bool, Default: "false",
		Help: "Scrape native histograms where the target has them, in place of their classic buckets; not every receiver takes them. `false` scrapes the buckets.",
		dest: func(l *loader) any { return &l.cfg.NativeHistograms },
	},
	{
		Name: "ALWAYS_SCRAPE_CLASSIC_HISTOGRAMS", Group: groupScrape, Type: Bool, Default: "false",
		Help: "With SCRAPE_NATIVE_HISTOGRAMS, scrape the classic buckets as well where a histogram has both, for receivers that take no native ones.",
		dest: func(l *loader) any { return &l.cfg.ClassicHistograms },
	},

	{
		Name: "JOB", Group: groupLabels, Type: Text, Default: "docker",
		Help: "The label `job`.",
		dest: func(l *loader) any { return &l.cfg.Job }, check: func(l *loader) error { return checkLabelValue(l.cfg.Job) },
	},
	{
		Name: "INSTANCE", Group: groupLabels, Type: Text, DefaultText: "the host's name", Example: "host-17",
		Help: "The label `instance`. It must differ between hosts.",
		dest: func(l *loader) any { return &l.cfg.Instance }, check: checkInstance,
	},
	{
		Name: "EXTERNAL_LABELS", Group: groupLabels, Type: Pairs, Example: "cluster=eu1,stage=prod",
		Help: "Labels added to every series that does not have them. A value with a comma stands in double quotes.",
	},
	{
		Name: "METRICS_KEEP", Group: groupLabels, Type: Regexp, Example: "engine_daemon_.*|process_.*",
		Help: "Metric names to keep, of every target; the expression must match the whole name. `up`, `scrape_*` and the program's own metrics are always kept.",
		dest: func(l *loader) any { return &l.cfg.Keep },
	},
	{
		Name: "METRICS_DROP", Group: groupLabels, Type: Regexp, Example: "go_.*|.*_bucket",
		Help: "Metric names to drop, of every target, after METRICS_KEEP.",
		dest: func(l *loader) any { return &l.cfg.Drop },
	},
	{
		Name: "SELF_METRICS", Group: groupLabels, Type: Bool, Default: "true",
		Help: "Send the program's own metrics as well. `false` leaves its build info and the newest sent timestamp.",
		dest: func(l *loader) any { return &l.cfg.SelfMetrics },
	},

	{
		Name: "DATA_DIR", Group: groupSpool, Type: Path, DefaultText: "`/data` in the plugin; in `run` $STATE_DIRECTORY, else `/var/lib/docker-remote-write`",
		Example: "/data",
		Help:    "Directory for what is not delivered yet. In the plugin only /data survives an upgrade.",
		dest:    func(l *loader) any { return &l.cfg.DataDir }, check: checkDataDir,
	},
	{
		Name: "SPOOL_MAX_BYTES", Group: groupSpool, Type: Size, Default: "64MiB", Min: "2MiB", Max: "1TiB",
		Help: "Disk space for what is not delivered yet; past it the oldest goes. A day of one host is about 1.5 MB.",
		dest: func(l *loader) any { return &l.cfg.SpoolMaxBytes },
	},
	{
		Name: "SPOOL_MAX_AGE", Group: groupSpool, Type: Duration, Default: "0", Min: "1m", Max: "10y", ZeroMeans: "no limit",
		Help: "Older samples are dropped, to within an hour. Set it where the receiver refuses old samples anyway.",
		dest: func(l *loader) any { return &l.cfg.SpoolMaxAge },
	},

	{
		Name: "STATUS_LISTEN_ADDRESS", Group: groupProgram, Type: Address, Example: "127.0.0.1:9324",
		Help: "TCP address of the status page, `/metrics`, `/status`, `/-/healthy` and `/-/ready`. They answer anyone who can reach the address.",
		dest: func(l *loader) any { return &l.cfg.StatusListen }, check: checkListen,
	},
	{
		Name: "LOG_LEVEL", Group: groupProgram, Type: Choice, Default: "info", Choices: []string{"debug", "info", "warning", "error"},
		Help: "The least severe lines to log.",
		dest: func(l *loader) any { return &l.cfg.LogLevel },
	},
}
