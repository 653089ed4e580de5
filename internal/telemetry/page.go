// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/words"
)

//go:embed page.css
var pageCSS string

// pagePolicy lets the page load nothing, run nothing and be framed by no one: what
// a receiver answered stands on it verbatim.
var pagePolicy = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
})

// page is the status page: one document without scripts and external assets. It
// is written without html/template, whose start costs memory in every process
// that never shows a page; each value goes through pageWriter's escaping.
func (t *Telemetry) page(w http.ResponseWriter, _ *http.Request) {
	s := t.State()
	w.Header().Set("Content-Security-Policy", pagePolicy())
	w.Header().Set("Referrer-Policy", "no-referrer")
	reply(w, http.StatusOK, "text/html; charset=utf-8", renderPage(&s))
}

// pageWriter collects the document. Only text writes what it is given as it is;
// strings reach printf by way of esc or as constants.
type pageWriter struct{ bytes.Buffer }

func (w *pageWriter) text(s string) { w.WriteString(s) }

func (w *pageWriter) printf(format string, a ...any) { fmt.Fprintf(w, format, a...) }

func esc(s string) string { return html.EscapeString(s) }

func renderPage(s *State) []byte {
	w := &pageWriter{}
	word, class := verdict(s)
	color := map[string]string{"good": "#1f9d61", "warn": "#d98a10", "bad": "#d33c3c"}[class]
	icon := "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='7' fill='" + color + "'/></svg>"
	w.printf(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">`+
		`<meta http-equiv="refresh" content="15"><title>%s: %s</title><link rel="icon" href="data:image/svg+xml,%s"><style>%s</style></head><body>`,
		esc(s.Instance), word, url.PathEscape(icon), pageCSS)
	w.printf(`<header><h1>docker-remote-write</h1><span class="pill %s">%s</span>`, class, word)
	w.printf(`<div class="sub">%s · job %s · version %s · %s · up %s</div></header><main>`,
		esc(s.Instance), esc(s.Job), esc(s.Version), mode(s.Mode), words.Span(s.Time.Sub(s.Started)))
	for i := range s.Problems {
		w.problem(&s.Problems[i])
	}
	for i := range s.Endpoints {
		w.endpoint(s, &s.Endpoints[i])
	}
	w.text(`<div class="cols">`)
	for i := range s.Targets {
		w.target(s, &s.Targets[i])
	}
	w.spool(s)
	w.text(`</div></main>`)
	w.printf(`<footer><span>%s, refreshed every 15 s</span><a href="%s">status as JSON</a><a href="%s">own metrics</a><a href="%s">ready?</a>`+
		`<span>memory %s, processor %s</span></footer></body></html>`+"\n",
		s.Time.UTC().Format("2006-01-02 15:04:05 UTC"), PathStatus[1:], PathMetrics[1:], PathReady[1:], words.Size(s.Process.ResidentBytes), cpu(s))
	return w.Bytes()
}

// verdict is the state in a word or two, and its class.
func verdict(s *State) (string, string) {
	switch {
	case !s.Healthy:
		return "Needs attention", "bad"
	case len(s.Problems) > 0:
		return "Healthy, with remarks", "warn"
	default:
		return "Healthy", "good"
	}
}

func mode(m string) string {
	if m == "plugin" {
		return "engine plugin"
	}
	return esc(m)
}

// cpu is the processor's use since the start, in percent of one core.
func cpu(s *State) string {
	up := s.Time.Sub(s.Started).Seconds()
	if up <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", float64(s.Process.CPU)/up*100)
}

func (w *pageWriter) problem(p *Problem) {
	class := "warn"
	if p.Severity == Error {
		class = "bad"
	}
	w.printf(`<section class="problem %s"><div class="head"><h2>%s</h2><span class="pill %s">%s</span></div>`+
		`<p class="text">%s</p><p class="hint">%s</p></section>`,
		p.Severity, esc(p.Subject), class, p.Severity, esc(p.Text), esc(p.Hint))
}

// fact is one figure: a term, its value, its class and a remark below it.
func (w *pageWriter) fact(term, value, class, remark string) {
	w.printf(`<div><dt>%s</dt><dd class="%s">%s`, esc(term), class, esc(value))
	if remark != "" {
		w.printf(`<small>%s</small>`, esc(remark))
	}
	w.text(`</dd></div>`)
}

func (w *pageWriter) endpoint(s *State, e *EndpointState) {
	phase, class := string(e.Phase), "good"
	switch {
	case e.Phase == Refusing, e.Failures > 0:
		class = "bad"
	case e.Phase == Clock:
		class = "warn"
	}
	if e.Failures > 0 && e.Phase != Refusing {
		phase = words.Count(uint64(e.Failures), "failed attempt") + " in a row"
	}
	w.printf(`<section><div class="head"><h2>%s</h2><span class="pill %s">%s</span><span class="url">%s</span></div><dl>`,
		esc(e.Name), class, esc(phase), esc(e.URL))
	behind, behindClass := "nothing waits", "good"
	if e.Backlog.Scrapes > 0 {
		behind, behindClass = words.Span(e.Backlog.Age.Duration())+" behind", ""
		if e.Backlog.Age.Duration() > slowBacklog {
			behindClass = "bad"
		}
	}
	w.fact("Backlog", behind, behindClass, words.Count(e.Backlog.Scrapes, "scrape")+", "+words.Count(e.Backlog.Samples, "sample"))
	w.fact("On disk", words.Size(e.Backlog.Bytes), "", "shared by endpoints")
	lostClass := ""
	if e.Lost.Sum() > 0 {
		lostClass = "bad"
	}
	w.fact("Delivered", words.Number(e.Delivered), "", "of "+words.Count(e.Appended, "sample"))
	w.fact("Lost", words.Number(e.Lost.Sum()), lostClass, "samples")
	w.fact("Newest sent", words.Ago(s.Time, e.NewestSent), "", clock(e.NewestSent.UTC().Format("15:04:05 UTC"), e.NewestSent.IsZero()))
	next := "at once"
	if e.NextAttempt.After(s.Time) {
		next = "in " + words.Span(e.NextAttempt.Sub(s.Time))
	}
	w.fact("Next attempt", next, "", "with what waits then")
	requests, mean := e.Requests.Sum(), "-"
	if requests > 0 {
		mean = words.Span((e.RequestTime / Seconds(requests)).Duration())
	}
	w.fact("Requests", words.Number(requests), "", "remote write "+e.Protocol)
	w.fact("Mean answer time", mean, "", "over all requests")
	w.fact("Sent", words.Size(e.SentBytes), "", words.Count(e.Retried, "sample")+" again")
	w.fact("Receiver's clock", fmt.Sprintf("%+.0f s", float64(e.ClockOffset)), "", "against this host's")
	w.text(`</dl><h3>How far behind, over the last hour</h3>`)
	w.chart(s.Time, e.History)
	for _, p := range e.History {
		if p.Failing {
			w.text(`<p class="legend"><i></i>attempts were failing</p>`)
			break
		}
	}
	if e.LastError != "" {
		w.printf(`<h3>Last error, %s</h3><pre class="verbatim">%s</pre>`, words.Ago(s.Time, e.LastErrorTime), esc(e.LastError))
	}
	if e.Lost.Sum() > 0 {
		w.text(`<h3>Lost, by reason</h3><table>`)
		for r, n := range e.Lost {
			if n > 0 {
				w.printf(`<tr><th scope="row">%s</th><td>%s</td></tr>`, series.Loss(r), words.Number(n))
			}
		}
		w.text(`</table>`)
	}
	w.text(`</section>`)
}

func clock(s string, never bool) string {
	if never {
		return ""
	}
	return s
}

func (w *pageWriter) target(s *State, c *TargetState) {
	word, class := "up", "good"
	switch {
	case !c.Running:
		word, class = "not running", "warn"
	case c.Waiting != "":
		word, class = "waiting", "warn"
	case c.LastError != "":
		word, class = "down", "bad"
	case c.Last.IsZero():
		word, class = "starting", "warn"
	}
	name := "Engine"
	if c.Name != "" {
		name = "Target " + c.Name
	}
	w.printf(`<section><div class="head"><h2>%s</h2><span class="pill %s">%s</span></div><div class="url">%s</div><dl>`, esc(name), class, word, esc(c.URL))
	w.fact("Last", words.Ago(s.Time, c.Last), "", "every "+words.Span(c.Interval.Duration()))
	w.fact("Took", fmt.Sprintf("%.1f ms", float64(c.Duration)*1000), "", "to scrape")
	w.fact("Samples", words.Number(uint64(c.Samples)), "", "in the last")
	w.fact("Scrapes", words.Number(c.Successes), "", words.Number(c.Failures)+" failed")
	w.text(`</dl></section>`)
}

func (w *pageWriter) spool(s *State) {
	c := &s.Spool
	word, class := "on disk", "good"
	if c.Error != "" {
		word, class = "memory only", "bad"
	}
	w.printf(`<section><div class="head"><h2>Spool</h2><span class="pill %s">%s</span></div><div class="url">%s</div><dl>`, class, word, esc(c.Dir))
	limit, share := "no limit", 0.0
	if c.MaxBytes > 0 {
		limit, share = "of "+words.Size(c.MaxBytes), min(1, float64(c.Bytes)/float64(c.MaxBytes))
	}
	w.fact("Used", words.Size(c.Bytes), "", limit)
	config := "environment"
	if c := s.Config.File; c != "" {
		config = c
	}
	w.printf(`<div class="wide"><dt>Configuration</dt><dd>%s<small>loaded %s</small></dd></div></dl>`, esc(config), words.Ago(s.Time, s.Config.Loaded))
	if c.MaxBytes > 0 {
		w.printf(`<h3>%s</h3><svg viewBox="0 0 400 8" role="img" aria-label="%.0f %% of the spool is used"><rect class="used" width="400" height="8" rx="4"/><rect class="used-of" width="%.1f" height="8" rx="4"/></svg>`,
			strings.TrimSuffix(fmt.Sprintf("%.1f", share*100), ".0")+" % used", share*100, max(share*400, 4))
	}
	w.text(`</section>`)
}
