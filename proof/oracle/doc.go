// SPDX-License-Identifier: Apache-2.0

// Package oracle has only tests: Prometheus itself scrapes what the program scrapes, and
// what both have stored is compared, series by series and scrape by scrape. Where they
// differ is listed once here, by name, and in the table of DESIGN.md.
package oracle
