// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
)

// noCloud is an environment that says nothing of one.
func noCloud(t *testing.T) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "AZURE_") {
			t.Setenv(name, "")
		}
	}
}

const (
	clientID  = "11111111-2222-3333-4444-555555555555"
	workspace = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write"
)

// TestCloudIdentities: what a file or the environment asks for is what check shows.
func TestCloudIdentities(t *testing.T) {
	noCloud(t)
	key, _ := json.Marshal(map[string]string{"type": "service_account", "client_email": "a@b", "private_key": "MARKER"})
	keyFile, token := writeFile(t, "key.json", string(key)), writeFile(t, "token", "MARKER")
	for _, tc := range []struct {
		entry   string // of a file
		environ []string
		want    string
	}{
		{"sigv4: {region: eu-west-1}", nil, "sigv4 for aps in eu-west-1, the instance's role"},
		{"sigv4: {}", nil, "sigv4 for aps in eu-west-1, the instance's role"},
		{"sigv4: {region: eu-west-1, access_key: AKID, secret_key: MARKER, service_name: x}", nil, "sigv4 for x in eu-west-1, access_key AKID"},
		{"sigv4: {role_arn: 'arn:aws:iam::1:role/r', external_id: e, session_name: docker, tags: {a: b}, use_fips_sts_endpoint: true}", nil,
			"sigv4 for aps in eu-west-1, the instance's role, as arn:aws:iam::1:role/r"},
		{"azuread: {managed_identity: {}}", nil, "azuread, the host's own managed identity"},
		{"azuread: {cloud: AzureChina, managed_identity: {client_id: " + clientID + "}}", nil, "azuread, the managed identity " + clientID},
		{"azuread: {oauth: {client_id: " + clientID + ", tenant_id: t, client_secret: MARKER}, scope: 'https://x/.default'}", nil, "azuread, the application " + clientID},
		{"azuread: {workload_identity: {client_id: " + clientID + ", tenant_id: t, token_file_path: " + token + "}}", nil, "azuread, the workload identity " + clientID},
		{"google_iam: {}", nil, "google_iam, the instance's service account"},
		{"google_iam: {credentials_file: " + keyFile + "}", nil, "google_iam, the service account of " + keyFile},

		{"", []string{"REMOTE_WRITE_SIGV4_REGION=eu-west-1"}, "sigv4 for aps in eu-west-1, the instance's role"},
		{"", []string{"REMOTE_WRITE_SIGV4_REGION=eu-west-1", "REMOTE_WRITE_SIGV4_ROLE_ARN=arn:aws:iam::1:role/r"},
			"sigv4 for aps in eu-west-1, the instance's role, as arn:aws:iam::1:role/r"},
		{"", []string{"REMOTE_WRITE_AZURE_CLIENT_ID=" + clientID}, "azuread, the managed identity " + clientID},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true"}, "google_iam, the instance's service account"},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=false"}, "none"},
	} {
		environ := append(tc.environ, "REMOTE_WRITE_URL="+workspace)
		if tc.entry != "" {
			environ = []string{"CONFIG_FILE=" + writeFile(t, "rw.yml", "remote_write:\n- {url: '"+workspace+"', "+tc.entry+"}\n")}
		}
		c, warnings, err := load(Run, environ...)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s %q: %v %q", tc.entry, tc.environ, err, warnings)
			continue
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		line := slices.ContainsFunc(strings.Split(b.String(), "\n"), func(l string) bool {
			what, whose, _ := strings.Cut(strings.TrimSpace(l), "  ")
			return what == "authentication" && strings.TrimSpace(whose) == tc.want
		})
		if !line {
			t.Errorf("%s %q: no %q in\n%s", tc.entry, tc.environ, tc.want, &b)
		}
		if strings.Contains(b.String(), "MARKER") {
			t.Errorf("%s: a secret is shown in\n%s", tc.entry, &b)
		}
		if secret := strings.Contains(tc.entry, "MARKER") || strings.Contains(tc.entry, "/"+filepath.Base(token)) || strings.Contains(tc.entry, keyFile); secret &&
			redact.New(c.Secrets()).Hide("MARKER") != redact.Hidden {
			t.Errorf("%s: the secret is not known", tc.entry)
		}
	}
}

// TestBadClouds: each mistake leads to words that name it, and what would be right.
func TestBadClouds(t *testing.T) {
	noCloud(t)
	garbage, other := writeFile(t, "garbage", "MARKER"), writeFile(t, "other.json", `{"type": "authorized_user", "client_secret": "MARKER"}`)
	for _, tc := range []struct {
		entry   string
		environ []string
		want    []string
	}{
		{"sigv4: {}", nil, []string{"entry 1: sigv4.region is missing"}},
		{"sigv4: {region: 'eu west'}", nil, []string{"sigv4.region", "eu-west-1"}},
		{"sigv4: {region: eu-west-1, access_key: a}", nil, []string{"sigv4.access_key and sigv4.secret_key go together"}},
		{"sigv4: {region: eu-west-1, profile: p}", nil, []string{"sigv4.profile is not supported", "access_key"}},
		{"sigv4: {region: eu-west-1, external_id: x}", nil, []string{"give role_arn"}},
		{"sigv4: {region: eu-west-1, role_arn: web}", nil, []string{"sigv4.role_arn", "arn:aws:iam"}},
		{"sigv4: {region: eu-west-1, role_arn: 'arn:aws:iam::1:role/r', session_name: 'a b'}", nil, []string{"sigv4.session_name"}},
		{"sigv4: {region: eu-west-1, role_arn: 'arn:aws:iam::1:role/r', tags: {'': b}}", nil, []string{"sigv4.tags"}},
		{"sigv4: {regions: MARKER}", nil, []string{"line 2", `unknown key "regions"`}},
		{"sigv4: MARKER", nil, []string{"line 2"}},
		{"sigv4: ", nil, []string{"sigv4 has nothing under it", "sigv4: {}"}},
		{"google_iam: null", nil, []string{"google_iam has nothing under it"}},
		{"sigv4: {region: eu-west-1}, google_iam: {}", nil, []string{"more than one of sigv4, azuread and google_iam"}},
		{"sigv4: {region: eu-west-1}, basic_auth: {username: a, password: MARKER}", nil, []string{"beside basic_auth"}},
		{"azuread: {}", nil, []string{"azuread needs one identity", "managed_identity"}},
		{"azuread: {managed_identity: {}, oauth: {client_id: " + clientID + ", tenant_id: t, client_secret: MARKER}}", nil, []string{"azuread needs one identity"}},
		{"azuread: {managed_identity: {client_id: me}}", nil, []string{"azuread.managed_identity.client_id", "00000000-"}},
		{"azuread: {oauth: {client_id: " + clientID + ", tenant_id: 'a/b'}}", nil, []string{"oauth.tenant_id", "oauth.client_secret is missing"}},
		{"azuread: {sdk: {tenant_id: t}}", nil, []string{"azuread.sdk is not supported", "managed_identity"}},
		{"azuread: {certificate: {client_id: a}}", nil, []string{"azuread.certificate is not supported", "oauth"}},
		{"azuread: {cloud: Moon, managed_identity: {}}", nil, []string{"azuread.cloud", "AzurePublic"}},
		{"azuread: {managed_identity: {}, scope: 'a|b'}", nil, []string{"azuread.scope"}},
		{"azuread: {workload_identity: {client_id: " + clientID + ", tenant_id: t, token_file_path: missing}}", nil, []string{"token_file_path", "missing", "no such file"}},
		{"google_iam: {credentials_file: missing.json}", nil, []string{"google_iam.credentials_file", "missing.json", "no such file"}},
		{"google_iam: {credentials_file: " + garbage + "}", nil, []string{"google_iam.credentials_file", "is no JSON"}},
		{"google_iam: {credentials_file: " + other + "}", nil, []string{"google_iam.credentials_file", "service_account"}},

		{"", []string{"REMOTE_WRITE_SIGV4_REGION=us-east-1", "REMOTE_WRITE_URL=" + workspace}, []string{"REMOTE_WRITE_SIGV4_REGION is us-east-1", "in eu-west-1"}},
		{"", []string{"REMOTE_WRITE_SIGV4_REGION=a b"}, []string{"REMOTE_WRITE_SIGV4_REGION", "such as eu-west-1"}},
		{"", []string{"REMOTE_WRITE_SIGV4_ROLE_ARN=arn:aws:iam::1:role/r"}, []string{"REMOTE_WRITE_SIGV4_ROLE_ARN", "set REMOTE_WRITE_SIGV4_REGION"}},
		{"", []string{"REMOTE_WRITE_SIGV4_REGION=eu-west-1", "REMOTE_WRITE_SIGV4_ROLE_ARN=r"}, []string{"REMOTE_WRITE_SIGV4_ROLE_ARN", "arn:aws:iam"}},
		{"", []string{"REMOTE_WRITE_AZURE_CLIENT_ID=me"}, []string{"REMOTE_WRITE_AZURE_CLIENT_ID", "00000000-"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=maybe"}, []string{"REMOTE_WRITE_GOOGLE_IAM"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true", "REMOTE_WRITE_SIGV4_REGION=eu-west-1"}, []string{"more than one of REMOTE_WRITE_SIGV4_REGION, REMOTE_WRITE_AZURE_CLIENT_ID and REMOTE_WRITE_GOOGLE_IAM"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true", "REMOTE_WRITE_BEARER_TOKEN=MARKER"}, []string{"REMOTE_WRITE_GOOGLE_IAM, REMOTE_WRITE_BEARER_TOKEN", "keep one"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true", "REMOTE_WRITE_URL=https://a:MARKER@x/w"}, []string{"REMOTE_WRITE_URL, REMOTE_WRITE_GOOGLE_IAM", "user name"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true", "REMOTE_WRITE_URL=https://a/w https://b/w"}, []string{"credentials for both https://a:443 and https://b:443"}},
		{"", []string{"REMOTE_WRITE_GOOGLE_IAM=true", "CONFIG_FILE=" + writeFile(t, "rw.yml", "remote_write: [{url: 'http://x/w'}]")}, []string{"REMOTE_WRITE_GOOGLE_IAM, CONFIG_FILE"}},
	} {
		environ := tc.environ
		if tc.entry != "" {
			environ = []string{"CONFIG_FILE=" + writeFile(t, "rw.yml", "remote_write:\n- {url: 'https://x/w', "+tc.entry+"}\n")}
		}
		_, _, err := load(Run, environ...)
		if err == nil {
			t.Errorf("%s %q: accepted", tc.entry, tc.environ)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q: %q is not in: %v", tc.entry, tc.environ, want, err)
			}
		}
		if strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), "cloudauth") {
			t.Errorf("%s: shows a secret or a type: %v", tc.entry, err)
		}
	}
}

// TestCloudFromTheEnvironment: in a container, which has the vendor's own variables, check
// names them.
func TestCloudFromTheEnvironment(t *testing.T) {
	noCloud(t)
	t.Setenv("AWS_REGION", "eu-north-1")
	entry := "remote_write: [{url: 'http://127.0.0.1/w', sigv4: {}}]"
	for _, tc := range []struct{ name, value, want string }{
		{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", "the container's role"},
		{"AWS_SECRET_ACCESS_KEY", "MARKER", "AWS_ACCESS_KEY_ID AKID"},
	} {
		t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
		t.Setenv(tc.name, tc.value)
		c := mustLoad(t, Run, "CONFIG_FILE="+writeFile(t, "rw.yml", entry))
		if got, want := authentication(&c.Endpoints[0]), "sigv4 for aps in eu-north-1, "+tc.want; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if tc.value == "MARKER" && !slices.Contains(c.Secrets(), "MARKER") {
			t.Error("a secret of the environment is not known")
		}
	}
}
