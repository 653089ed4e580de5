// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/cloudtest"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// inCloud are the settings for each cloud, with its identity service at an address.
func inCloud(host string) map[string][]string {
	return map[string][]string{
		"amazon":        {"REMOTE_WRITE_SIGV4_REGION=" + cloudtest.Region, "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://" + host},
		"amazon's role": {"REMOTE_WRITE_SIGV4_REGION=" + cloudtest.Region, "REMOTE_WRITE_SIGV4_ROLE_ARN=" + cloudtest.RoleARN, "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://" + host, "AWS_ENDPOINT_URL_STS=http://" + host},
		"azure":         {"REMOTE_WRITE_AZURE_CLIENT_ID=" + cloudtest.ClientID, "IDENTITY_ENDPOINT=http://" + host + "/msi/token", "IDENTITY_HEADER=" + cloudtest.Header},
		"google":        {"REMOTE_WRITE_GOOGLE_IAM=true", "GCE_METADATA_HOST=" + host},
	}
}

// TestClouds: the program with credentials that end every two seconds, through an outage
// of the receiver, one of the identity service within it, and the drain: every scrape
// arrives, once.
func TestClouds(t *testing.T) {
	for name := range inCloud("") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := &cloudtest.Cloud{}
			cloud.SetLife(2 * time.Second)
			identity := httptest.NewServer(cloud)
			defer identity.Close()
			r := newReceiver(t, promtest.Options{})
			r.setFault(cloud.Refuses)
			var scrapes atomic.Int64
			payload := capture(t, "v20.10-busy.txt")
			to, scraped := target(t, "tcp", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { scrapes.Add(1); payload.ServeHTTP(w, q) }))
			p := startRun(t, append(inCloud(identity.Listener.Addr().String())[name], "SCRAPE_TARGET="+to, "REMOTE_WRITE_URL="+r.WriteURL(),
				"SCRAPE_INTERVAL=500ms", "MIN_BACKOFF=100ms", "MAX_BACKOFF=500ms", "MAX_SAMPLES_PER_SEND=500", "MAX_SAMPLES_PER_SECOND=1800", "DATA_DIR="+t.TempDir())...)
			r.up(1, time.Unix(0, 0))

			r.setFault(refuseAll(http.StatusServiceUnavailable))
			next := func(n int) {
				for range n {
					<-scraped
				}
			}
			next(3)
			cloud.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			})
			next(6)
			cloud.SetFault(nil)
			next(3)
			r.setFault(cloud.Refuses)
			r.await("the end of the drain", func() bool { return int64(len(r.ups())) >= scrapes.Load() })
			p.end(t, syscall.SIGTERM)

			at := map[int64]int{}
			for _, q := range r.got() {
				m, err := q.V2()
				if err != nil {
					t.Fatal(err)
				}
				for _, ts := range m.Timeseries {
					if metric, _ := metricOf(m.Symbols, ts.LabelsRefs); metric != "up" {
						continue
					}
					for _, s := range ts.Samples {
						if s.Value == 1 {
							at[s.Timestamp]++
						}
					}
				}
			}
			for stamp, n := range at {
				if n > 1 {
					t.Errorf("the scrape at %d arrived %d times", stamp, n)
				}
			}
			if n := scrapes.Load(); int64(len(at)) != n {
				t.Errorf("of %d scrapes %d arrived", n, len(at))
			}
			ids := map[string]bool{}
			for _, c := range cloud.Checked() {
				ids[c.ID] = true
			}
			if len(ids) < 3 {
				t.Errorf("%d credentials were used", len(ids))
			}
			tell(t, "%s: %d scrapes with %d credentials, after an outage of the receiver and one of the identity service", name, len(at), len(ids))
			if strings.Contains(p.output.String(), "s3cr3t") {
				t.Error("a secret is in the log")
			}
		})
	}
}

// TestCheckInClouds: check says which identity would be used, and with --push whose
// credentials they were, or what came in their place.
func TestCheckInClouds(t *testing.T) {
	cloud := &cloudtest.Cloud{}
	cloud.SetLife(time.Hour)
	identity := httptest.NewServer(cloud)
	defer identity.Close()
	r := newReceiver(t, promtest.Options{})
	r.setFault(cloud.Refuses)
	to, _ := target(t, "tcp", capture(t, "v20.10-busy.txt"))
	for name, settings := range inCloud(identity.Listener.Addr().String()) {
		want := map[string][2]string{
			"amazon":        {"sigv4 for aps in eu-west-1, the instance's role\n", "credentials of the instance's role (GET http://"},
			"amazon's role": {"the instance's role, as " + cloudtest.RoleARN + "\n", "credentials of " + cloudtest.RoleARN + " (POST http://"},
			"azure":         {"azuread, the managed identity " + cloudtest.ClientID + "\n", "credentials of the managed identity " + cloudtest.ClientID + " (GET http://"},
			"google":        {"google_iam, the instance's service account\n", "credentials of the instance's service account (GET http://"},
		}[name]
		check := func(args ...string) (string, error) {
			cmd := exec.Command(binary, append([]string{"check"}, args...)...)
			cmd.Env = append([]string{"SCRAPE_TARGET=" + to, "REMOTE_WRITE_URL=" + r.WriteURL()}, settings...)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		asked := len(cloud.Asked())
		out, err := check()
		if err != nil || !strings.Contains(out, want[0]) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if len(cloud.Asked()) != asked {
			t.Errorf("%s: check asked %q", name, cloud.Asked()[asked:])
		}
		if out, err = check("--push"); err != nil || !strings.Contains(out, want[1]) || !strings.Contains(out, ", until 20") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		cloud.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "not today", http.StatusForbidden)
			return true
		})
		if out, err = check("--push"); err == nil || !strings.Contains(out, ": no credentials of ") || !strings.Contains(out, "403 Forbidden: not today") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		cloud.SetFault(nil)
		if strings.Contains(out, "s3cr3t") {
			t.Errorf("%s: a secret is shown: %s", name, out)
		}
	}
}
