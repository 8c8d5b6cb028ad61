package main

import (
	"errors"
	"regexp"
	"strings"
)

// Why there is no value, in the classes of templating contract 14.

var errOutput = errors.New("the rendered text is too long")

type parseError struct{ error }

type pathError struct {
	fault, path string
	upstream    bool
}

func (e *pathError) Error() string { return e.fault + " " + e.path }

type offloadedError struct{ step string }

func (e *offloadedError) Error() string {
	return "the output of step " + e.step + " is in object storage"
}

var faults = []struct {
	fault   string
	pattern *regexp.Regexp
}{
	{"limit", regexp.MustCompile(regexp.QuoteMeta(errOutput.Error()) + `$|exceeded maximum template depth`)},
	{"call", regexp.MustCompile(`: error calling (\w+): `)},
	{"arity", regexp.MustCompile(`wrong number of args for \w+|has arguments but cannot be invoked as function|can't give argument to non-function|is not a method but has arguments`)},
	{"arg-type", regexp.MustCompile(`wrong type for value; expected|invalid value; expected|expected (integer|float|string|boolean|.*; found)|cannot assign nil to|can't handle`)},
	{"nil-field", regexp.MustCompile(`nil pointer evaluating|nil data; no entry for key`)},
	{"no-field", regexp.MustCompile(`can't evaluate field|has no (field|method)`)},
	{"range-type", regexp.MustCompile(`range can't iterate over|can't use .* to iterate over more than one variable`)},
	{"nil-command", regexp.MustCompile(`nil is not a command`)},
	{"no-template", regexp.MustCompile(`template "[^"]*" not defined`)},
	{"overflow", regexp.MustCompile(`overflows int`)},
	{"undefined-variable", regexp.MustCompile(`undefined variable`)},
}

func failure(err error) answer {
	var syntax *parseError
	var path *pathError
	var offloaded *offloadedError
	switch {
	case errors.As(err, &syntax):
		return answer{Kind: "parse", Fault: "parse", Message: err.Error()}
	case errors.As(err, &path):
		kind := "error"
		if path.upstream && path.fault == "missing" {
			kind = "blocked"
		}
		return answer{Kind: kind, Fault: faultOfPath(path), Message: err.Error()}
	case errors.As(err, &offloaded):
		return answer{Kind: "offloaded", Fault: "compound", Message: err.Error()}
	}
	kind := "error"
	if strings.Contains(err.Error(), errOffloaded.Error()) {
		kind = "offloaded"
	}
	return answer{Kind: kind, Fault: faultOfText(err.Error()), Message: err.Error()}
}

func faultOfPath(err *pathError) string {
	if err.fault == "missing" {
		return "missing " + err.path
	}
	return err.fault
}

func faultOfText(message string) string {
	for _, known := range faults {
		if found := known.pattern.FindStringSubmatch(message); found != nil {
			if known.fault == "call" {
				return "call " + found[1]
			}
			return known.fault
		}
	}
	return "unknown"
}
