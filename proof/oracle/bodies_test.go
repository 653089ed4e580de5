// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
)

const (
	typeText        = "text/plain; version=0.0.4"
	typeOpenMetrics = "application/openmetrics-text; version=1.0.0"
	typeProtobuf    = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

func answer(contentType, s string, more ...string) body {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		for i := 0; i < len(more); i += 2 {
			w.Header().Set(more[i], more[i+1])
		}
		_, _ = w.Write([]byte(s))
	}
}

func text(s string) body        { return answer(typeText, s) }
func openMetrics(s string) body { return answer(typeOpenMetrics, s+"# EOF\n") }
func status(code int) body {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a 1", code) }
}

func redirect(to string) body {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// headers answers with what the scraper has said.
func headers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", typeText)
	delete(r.Header, "Connection") // see prometheusSide
	for name := range r.Header {
		fmt.Fprintf(w, "header{name=%q,value=%q} 1\n", name, r.Header.Get(name))
	}
}

// families encodes what stands for MetricFamily messages in prototext, one after the other.
func families(t *testing.T, texts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, s := range texts {
		f := &dto.MetricFamily{}
		if err := prototext.Unmarshal([]byte(s), f); err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Metric { // prototext has but one NaN
			if g := m.Gauge; g != nil && g.GetValue() == math.MaxFloat64 {
				*g.Value = math.Float64frombits(value.StaleNaN)
			}
		}
		if _, err := protodelim.MarshalTo(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// captures are payloads of engines, as they were served.
func captures(t *testing.T, names ...string) (bodies []body) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join("../../testdata/captures", name))
		if err != nil {
			t.Fatal(err)
		}
		contentType := typeText
		if filepath.Ext(name) == ".pb" {
			contentType = typeProtobuf
		}
		bodies = append(bodies, answer(contentType, string(b)))
	}
	return bodies
}

func zipped(s string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// scripts are all targets.
func scripts(t *testing.T) []script {
	pb := func(texts ...string) body { return answer(typeProtobuf, families(t, texts...)) }
	const abc = "# HELP a An a.\n# TYPE a gauge\na 1\na{x=\"1\"} 2\n# TYPE b counter\nb 3\n"
	const native = `name: "h" help: "H." type: HISTOGRAM metric {label {name: "x" value: "%[1]s"} histogram {sample_count: 5 sample_sum: 7.5
		bucket {cumulative_count: 2 upper_bound: 1} bucket {cumulative_count: 4 upper_bound: 2} schema: 1 zero_threshold: 0.001 zero_count: 1
		positive_span {offset: 0 length: 2} positive_delta: 2 positive_delta: 0 created_timestamp {seconds: 1700000000}}}`
	histograms := []body{pb(fmt.Sprintf(native, "1")), pb(fmt.Sprintf(native, "2")), pb(), pb(fmt.Sprintf(native, "1")), status(503)}
	secure := httptest.NewTLSServer(text("secure 1\n"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of who does not trust it
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return []script{
		{name: "simple", bodies: []body{text(abc), text(abc), text("a 2\n"), text(abc)}},
		{name: "v20.10-text", bodies: captures(t, "v20.10-early-start.txt", "v20.10-fresh.txt", "v20.10-busy.txt", "v20.10-fresh.txt")},
		{name: "v20.10-both", bodies: captures(t, "v20.10-fresh.pb", "v20.10-busy.pb", "v20.10-busy.txt", "v20.10-swarm.pb")},
		{name: "master-text", bodies: captures(t, "master-fresh.txt", "master-swarm.txt", "master-fresh.txt")},
		{name: "master-both", bodies: captures(t, "master-fresh.pb", "master-swarm.pb", "master-swarm.txt", "master-fresh.pb")},
		{name: "vanish", bodies: []body{
			text("a 1\nb 1\nc 1\n"), text("a 1\nc 1\n"), text("b 2\na 1\n"), text("c 1\nb 2\na 1\n"), text(""), text("a 1\n"),
		}},
		{name: "families", bodies: []body{
			text("# HELP a One.\n# TYPE a counter\na 1\n"), text("# HELP a Two.\n# TYPE a gauge\na 1\n"),
			text("# TYPE a untyped\n# HELP a Three \\n \\\\.\na 1\n"), text("# HELP a One.\n# TYPE a counter\na 1\n"),
		}},
		{name: "less-said", bodies: []body{
			text("# HELP a One.\n# TYPE a counter\na 1\n"), text("# TYPE a counter\na 1\n"), text("# HELP a One.\na 1\n"), text("a 1\n"),
		}},
		{name: "units", bodies: []body{
			openMetrics("# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds A.\na_seconds 1\n"),
			openMetrics("# TYPE a_seconds gauge\n# HELP a_seconds A.\na_seconds 1\n"),
			openMetrics("# TYPE a_seconds unknown\n# UNIT a_seconds seconds\na_seconds 1\n"),
		}},
		{name: "unit-protobuf", bodies: []body{
			pb(`name: "a_bytes" unit: "bytes" help: "A." type: GAUGE metric {gauge {value: 1}}`), pb(`name: "a_bytes" help: "A." type: GAUGE metric {gauge {value: 1}}`),
			pb(`name: "a_bytes" type: UNTYPED metric {untyped {value: 1}}`), pb(`name: "a_bytes" unit: "bytes" type: COUNTER metric {counter {value: 1}}`),
		}},
		{name: "behind", bodies: []body{
			text("# HELP a A.\n# TYPE a gauge\na 1\nb 1\nab 1\na_total 1\na_sum 2\na{x=\"1\"} 2\n# TYPE c_total counter\nc_total 1\nc 2\nc_created 4\n# TYPE d counter\nd 1\nd_created 2\n"),
			text("e 1\n# HELP e E.\ne{x=\"1\"} 2\n# TYPE e counter\ne{x=\"2\"} 1\n# TYPE e gauge\ne{x=\"3\"} 1\n# HELP f F.\n# TYPE g gauge\n# TYPE f gauge\nf 1\ng 1\n"),
			text("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\nh_other 1\nh_max 2\n# TYPE s summary\ns{quantile=\"1\"} 1\ns_sum 1\ns_count 1\ns_bucket 1\nother 1\n# HELP z Z.\nz 1\n"),
		}},
		{name: "floats", bodies: []body{
			text("a NaN\nb +Inf\nc -Inf\ne 1e308\nf -0\ng 1e-320\nh .5\n"), text("a nan\nb Inf\nc -inf\nd 4e0\nf 0\ng 1e15\n"), text("a 1\nb 2\n"),
			openMetrics("a NaN\nb +Inf\nc -Inf\n"), text("a 0x1p-2\n"), text("b 1e309\n"), text("a 1_000\n"),
		}},
		{name: "stale", bodies: []body{
			pb(`name: "a" type: GAUGE metric {gauge {value: 1}}`),
			pb(`name: "a" type: GAUGE metric {gauge {value: 1.7976931348623157e308}}`),
			pb(`name: "a" type: GAUGE metric {gauge {value: nan}}`), pb(),
		}},
		{name: "twice", bodies: []body{
			text("a 1\na 2\nb{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 1\nc{} 1\nc 1\n"),
			text("a 1\na 2\nb{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 3\nc{} 1\nc 2\n"),
			text("a 1\n"),
		}},
		{name: "spellings", bodies: []body{
			text("b{x=\"1\",y=\"2\"} 1\nc 1\n"), text("b{y=\"2\",x=\"1\"} 1\nc{} 2\n"), text("c 3\n"),
			openMetrics("c 3\n"), pb(`name: "c" type: UNTYPED metric {untyped {value: 1}}`),
		}},
		{name: "timestamps", bodies: []body{text("a 1 1000\nb 2\n"), text("a 2 2000\na 3 3000\n"), text("b 1\n"), openMetrics("a 1 1.5\n")}},
		{name: "timestamps-honored", honored: true, bodies: []body{
			text("a 1 946684800500\nb 2\n"), text("a 2 946684800600\nb 2\n"), text("b 2\n"), // in the first second of a virtual clock
		}},
		{name: "created", bodies: []body{
			openMetrics("# TYPE c counter\nc_total{x=\"1\"} 1\nc_created{x=\"1\"} 1.5\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\nh_created 2\n# TYPE s summary\ns_count 1\ns_sum 1\ns_created 3\n# TYPE g gauge\ng_created 4\n"),
			openMetrics("# TYPE c counter\nc_total{x=\"1\"} 1\n"),
			text("# TYPE c counter\nc_total 1\n# TYPE c_created gauge\nc_created 5\n"),
			openMetrics("# TYPE c counter\nc_created 1\nc_total 1\nc_total{x=\"1\"} 1\n"),
		}},
		{name: "openmetrics", bodies: []body{
			openMetrics("# TYPE i info\n# HELP i I.\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"x\"} 1\ns{s=\"y\"} 0\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_bucket{le=\"+Inf\"} 2\ng_gcount 2\ng_gsum 3\n# TYPE u unknown\nu 1\n# TYPE q summary\nq{quantile=\"0.5\"} 1\nq_count 1\nq_sum 2\n"),
			openMetrics("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n"),
			answer(typeOpenMetrics, "a 1\n"), openMetrics("a 1\n"), answer(typeOpenMetrics, ""),
			answer("application/openmetrics-text; version=2.0.0", "a 1\n# EOF\n"),
		}},
		{name: "exemplars", bodies: []body{
			openMetrics("# TYPE c counter\nc_total 1 # {trace=\"1\"} 1\n"), openMetrics("# TYPE c counter\nc_total 2 # {trace=\"1\"} 1\n"),
			openMetrics("# TYPE c counter\nc_total 2 # {trace=\"2\"} 3 900000000\n# TYPE d counter\nd_total 2 # {trace=\"2\"} 3 800000000\n"),
			openMetrics("# TYPE d counter\nd_total 2 # {trace=\"3\"} 3 800000001.5\n"), openMetrics("# TYPE d counter\nd_total 3 # {trace=\"4\"} 3 800000000\n"),
		}},
		{name: "buckets", bodies: []body{
			text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"0.50\"} 1\nh_bucket{le=\"1e3\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n# TYPE s summary\ns{quantile=\"0.50\"} 1\ns{quantile=\"1\"} 1\ns_sum 1\ns_count 1\n"),
			text("# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n"),
			text("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"), text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"),
			pb(`name: "h" type: HISTOGRAM metric {histogram {sample_count: 2 sample_sum: 3 bucket {cumulative_count: 1 upper_bound: 1}}}`,
				`name: "s" help: "S." type: SUMMARY metric {summary {sample_count: 2 sample_sum: 3 quantile {quantile: 0.5 value: 1} quantile {quantile: 1 value: nan}}}`,
				`name: "g" help: "G." type: GAUGE_HISTOGRAM metric {histogram {sample_count: 2 sample_sum: 3 bucket {cumulative_count: 1 upper_bound: 1}}}`),
		}},
		{name: "native-off", bodies: histograms},
		{name: "native-on", bodies: histograms, theirs: "scrape_native_histograms: true", ours: func(o *scrape.Options) { o.NativeHistograms = true }},
		{name: "native-classic", bodies: histograms, theirs: "scrape_native_histograms: true\n  always_scrape_classic_histograms: true",
			ours: func(o *scrape.Options) { o.NativeHistograms, o.ClassicHistograms = true, true }},
		{name: "native-float", theirs: "scrape_native_histograms: true", ours: func(o *scrape.Options) { o.NativeHistograms = true },
			bodies: []body{text("h{x=\"1\"} 1\n"), histograms[0], text("h{x=\"1\"} 1\n"), histograms[1], text("")}},
		{name: "dropped", theirs: "metric_relabel_configs: [{source_labels: [__name__], regex: b.*, action: drop}]",
			ours:   func(o *scrape.Options) { o.Drop = relabel.MustNewRegexp("b.*") },
			bodies: []body{text("a 1\nb 1\nbc 1\n"), text("b 1\n"), text("a 1\nb 1\n")}},
		{name: "names", bodies: []body{
			text("{\"my.metric\",\"la bel\"=\"x\"} 1\n{\"ünïcode\"} 2\na:b 3\n_ 4\n"), text("# HELP \"my.metric\" Dots.\n# TYPE \"my.metric\" counter\n{\"my.metric\"} 1\n"),
			openMetrics("# TYPE \"my.metric\" gauge\n{\"my.metric\"} 1\n"), text("a{x=\"\"} 1\nb{y=\"\\n\\\"\\\\\"} 2\n"),
		}},
		{name: "collisions", bodies: []body{
			text("a{job=\"x\"} 1\na{instance=\"y\",job=\"x\"} 2\nb{job=\"\"} 3\nc{exported_job=\"z\",job=\"x\"} 4\nd{exported_instance=\"z\"} 5\n"),
			text("a{job=\"x\"} 1\n"),
		}},
		{name: "reports", bodies: []body{
			text("a 1\nup 7\nscrape_series_added 7\nup{x=\"1\"} 7\n"), text("a 1\n"), text("up 1\nscrape_duration_seconds 7\n"),
		}},
		{name: "failures", bodies: []body{
			text(abc), status(500), text(abc), status(204), text(abc), answer("application/json", "{}"), text(abc), answer(typeText, "\x00"),
		}},
		{name: "broken", bodies: []body{
			text(abc), text("# HELP a An a.\n# TYPE a gauge\na 1\nn 1\nbroken{ 2\n"), text(abc), text("broken{"), text("a 1\nn 1\n"), text(abc),
		}},
		{name: "broken-protobuf", bodies: []body{
			pb(`name: "a" metric {untyped {value: 1}}`, `name: "b" metric {untyped {value: 1}}`),
			answer(typeProtobuf, families(t, `name: "a" metric {untyped {value: 1}}`)+"\x05xx"), pb(`name: "a" metric {untyped {value: 1}}`),
		}},
		{name: "first-broken", bodies: []body{text("a 1\nbroken{"), text("a 1\nb 1\n"), text("a 1\n")}},
		{name: "types", bodies: []body{
			answer("", "a 1\n"), answer("text/plain", "a 1\n"), answer("text/plain; version=1.0.0; escaping=allow-utf-8", "a 1\n"), answer("", ""),
			answer("text/html", "a 1\n"), answer(typeText, "a 1\n", "Content-Encoding", "deflate"), answer(typeText, "a 1\n", "Content-Encoding", "gzip"),
		}},
		{name: "ways", bodies: []body{answer(typeText, zipped("a 1\n"), "Content-Encoding", "gzip"), answer(typeText, "a 1\n", "Content-Length", "100"), text("a 1\n"),
			redirect("/elsewhere"), redirect("elsewhere?x=1"), redirect("/ways"), redirect(secure.URL),
			text("a 1\n" + strings.Repeat("# A comment, of which there are many.\n", 1<<13) + "b 2\n"),
		}},
		{name: "secure", theirs: "tls_config: {ca_file: " + ca + "}", ours: func(o *scrape.Options) { o.TLS = trusting(t, ca) }, bodies: []body{redirect(secure.URL)}},
		{name: "headers", bodies: []body{headers}},
		{name: "samples", theirs: "sample_limit: 3", ours: func(o *scrape.Options) { o.SampleLimit = 3 },
			bodies: []body{text("a 1\nb 1\nc 1\n"), text("a 1\nb 1\nc 1\nd 1\n"), text("a 1\nb 1\nc 1\n")}},
		{name: "bytes", theirs: "body_size_limit: 64KB", ours: func(o *scrape.Options) { o.Room = scrape.NewRoom(64<<10, 1) },
			bodies: []body{text("a 1\n"), text("a 1\n" + strings.Repeat("#\n", 33<<10)), text("a 1\n")}},
		{name: "limits", bodies: []body{text("a 1\n"), text("a{x=\"" + strings.Repeat("x", scrape.MaxSeriesBytes) + "\"} 1\n")}},
		{name: "long", bodies: []body{text("a 1\n"), openMetrics("# TYPE a counter\na_total 1 # {x=\"" + strings.Repeat("x", 200<<10) + "\"} 1\n")}},
		{name: "text-odd", bodies: []body{
			text("a 1"), text("a  1 \n\n  b 2\n"), text("# a comment\n#HELP a x\n# TYPE a\na 1\n"), text("a 1\r\n"), text("a{x=\"1\",} 1\n"), text("a{x=\"1\" y=\"2\"} 1\n"),
		}},
		{name: "text-broken", bodies: []body{
			text("a{x=\"1\",x=\"2\"} 1\n"), text("{x=\"1\"} 1\n"), text("a{__name__=\"b\"} 1\n"), text("a{x=\"\xff\"} 1\n"), text("1a 1\n"), text("a 1 1000 x\n"),
			text("a{x='1'} 1\n"), text("a 1 # {x=\"1\"} 1\n"),
		}},
		{name: "openmetrics-odd", bodies: []body{
			openMetrics("a  1\n"), openMetrics("a_total 1\n# TYPE a counter\na_total{x=\"1\"} 1\n"), openMetrics("# TYPE a_seconds gauge\n# UNIT a_seconds bytes\na_seconds 1\n"),
			openMetrics("\na 1\n"), answer(typeOpenMetrics, "a 1\n# EOF\nb 1\n"), openMetrics("# HELP a A \\\"q\\\" \\n.\na 1\n"), openMetrics("# TYPE a counter\na 1\n"),
		}},
	}
}
