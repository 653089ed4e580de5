// SPDX-License-Identifier: Apache-2.0

package config

// Type is the form of a setting's value.
type Type string

// The forms of values. Their texts stand in the settings reference.
const (
	Text     Type = "text"
	URLs     Type = "URLs"
	Target   Type = "URL"
	Choice   Type = "choice"
	Bool     Type = "true or false"
	Duration Type = "duration"
	Targets  Type = "name=URL,..."
	Size     Type = "size"
	Count    Type = "number"
	Pairs    Type = "name=value,..."
	Regexp   Type = "regular expression"
	Path     Type = "path"
	PEM      Type = "PEM"
	Address  Type = "host:port"
)

// Setting is one name of the environment.
type Setting struct {
	Name string
	// Group is the heading in the settings reference.
	Group string
	Type  Type
	// Default is the value that an unset or empty setting stands for, in the
	// form in which it would be set; empty where there is none or where it is
	// computed, and then DefaultText says how.
	Default, DefaultText string
	// Min and Max bound durations, sizes and numbers; ZeroMeans says what 0 does
	// where it is allowed besides them.
	Min, Max, ZeroMeans string
	// Choices are the values of a Choice.
	Choices []string
	Help    string
	Example string
	// Secret values are shown nowhere.
	Secret bool

	// dest points at where the parsed value goes. Settings without one are
	// read by name where their endpoints are put together.
	dest func(*loader) any
	// check looks at a value after it was parsed, and normalises it.
	check func(*loader) error
}

const (
	groupReceiver = "The receiver"
	groupAuth     = "Credentials and TLS"
	groupSending  = "Sending"
	groupScrape   = "Scraping"
	groupLabels   = "Labels and selection"
	groupSpool    = "Storage"
	groupProgram  = "The program"
)

// Settings returns the table, in the order of the reference.
func Settings() []Setting { return settings }

// Names returns the names of all settings, in the order of the reference.
func Names() []string {
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].Name
	}
	return names
}

// fallback is the default in the given mode.
func (s *Setting) fallback(m Mode, env map[string]string) string {
	if s.Name == "DATA_DIR" {
		return defaultDataDir(m, env)
	}
	return s.Default
}
