// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestVerify: examples that Amazon published with their signatures.
func TestVerify(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for _, tc := range []struct {
		url, service, contentType, signed, signature string
	}{
		{"https://example.amazonaws.com/", "service", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "iam", "application/x-www-form-urlencoded; charset=utf-8",
			"content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
	} {
		request := func(signature string) *http.Request {
			r, err := http.NewRequest(http.MethodGet, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.contentType != "" {
				r.Header.Set("Content-Type", tc.contentType)
			}
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"+tc.service+
				"/aws4_request, SignedHeaders="+tc.signed+", Signature="+signature)
			return r
		}
		secret := func(id string) string {
			return map[string]string{"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}[id]
		}
		if _, err := Verify(request(tc.signature), nil, "us-east-1", tc.service, at, secret); err != nil {
			t.Errorf("%s: %v", tc.url, err)
		}
		for why, err := range map[string]error{
			"does not match": second(Verify(request(strings.Repeat("0", 64)), nil, "us-east-1", tc.service, at, secret)),
			"not match":      second(Verify(request(tc.signature), []byte("body"), "us-east-1", tc.service, at, secret)),
			"region":         second(Verify(request(tc.signature), nil, "eu-west-1", tc.service, at, secret)),
			"expired":        second(Verify(request(tc.signature), nil, "us-east-1", tc.service, at.Add(6*time.Minute), secret)),
			"invalid":        second(Verify(request(tc.signature), nil, "us-east-1", tc.service, at, func(string) string { return "" })),
		} {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %s", tc.url, err, why)
			}
		}
	}
}

func second(_ string, err error) error { return err }
