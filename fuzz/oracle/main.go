// Command oracle says what Go's text/template with Sprig makes of a template, by the rules of the templating contract.
//
//	oracle serve             a line of JSON in is a list of questions, a line out is the answer to one, until the input ends
//	oracle table DATA CASES  the conformance cases of a file with their expected answers renewed
//	oracle bench FILE        nanoseconds per compilation and per evaluation of each workload of FILE
//
// The rules around the language (normalisation, the forms that keep a type, JSON decoding) are written here a second
// time, from the contract and not from the engine under test.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "serve":
		return serve(os.Stdin, os.Stdout)
	case len(arguments) == 3 && arguments[0] == "table":
		return renewTable(arguments[1], arguments[2], os.Stdout)
	case len(arguments) == 2 && arguments[0] == "bench":
		return measure(arguments[1], os.Stdout)
	}
	return fmt.Errorf("usage: oracle serve | oracle table DATA CASES | oracle bench FILE")
}

// question is one template over its variables; the bounds of the engine do not exist here, but for the output.
type question struct {
	Template string         `json:"template"`
	Vars     map[string]any `json:"vars"`
}

// Go has no budget: a question that takes longer, or more memory, ends the program.
const (
	secondsPerQuestion = 3
	memoryBytes        = 3 << 30
)

// answer is a JSON value, or why there is none: Kind is value, parse, error, blocked or offloaded.
type answer struct {
	Kind    string `json:"kind"`
	Value   any    `json:"value"`
	Fault   string `json:"fault,omitempty"`
	Message string `json:"message,omitempty"`
}

func serve(input io.Reader, output io.Writer) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: memoryBytes, Max: memoryBytes}); err != nil {
		return err
	}
	reader, writer := bufio.NewReaderSize(input, 1<<20), bufio.NewWriter(output)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		var questions []question
		if err := json.Unmarshal(line, &questions); err != nil {
			return fmt.Errorf("a line that is not a list of questions: %w", err)
		}
		for _, asked := range questions {
			watchdog := time.AfterFunc(secondsPerQuestion*time.Second, func() { os.Exit(3) })
			given := ask(asked)
			watchdog.Stop()
			if err := writeJSON(writer, given); err != nil {
				return err
			}
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func ask(asked question) answer {
	value, err := resolve(asked.Template, asked.Vars)
	if err != nil {
		return failure(err)
	}
	return answer{Kind: "value", Value: value}
}

func writeJSON(writer io.Writer, value any) error {
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// renewTable writes the cases of casesPath, each [template, name of data, kind, expected], with what is expected
// renewed. dataPath holds the variables by name.
func renewTable(dataPath, casesPath string, output io.Writer) error {
	var data map[string]map[string]any
	var cases [][4]any
	if err := readJSON(dataPath, &data); err != nil {
		return err
	}
	if err := readJSON(casesPath, &cases); err != nil {
		return err
	}
	var lines bytes.Buffer
	lines.WriteString("[\n")
	for i, row := range cases {
		template, isText := row[0].(string)
		name, isName := row[1].(string)
		vars, known := data[name]
		if !isText || !isName || !known {
			return fmt.Errorf("%s: case %d: wants a template and the name of data in %s", casesPath, i, dataPath)
		}
		given := ask(question{template, vars})
		row[2], row[3] = given.Kind, given.Value
		if given.Kind != "value" {
			row[3] = given.Fault
		}
		line, err := oneLine(row)
		if err != nil {
			return fmt.Errorf("%s: case %d: %w", casesPath, i, err)
		}
		separator := ",\n"
		if i == len(cases)-1 {
			separator = "\n"
		}
		lines.WriteString(line + separator)
	}
	lines.WriteString("]\n")
	_, err := output.Write(lines.Bytes())
	return err
}

func readJSON(path string, target any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, target); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func oneLine(value any) (string, error) {
	var line bytes.Buffer
	err := writeJSON(&line, value)
	return string(bytes.TrimRight(line.Bytes(), "\n")), err
}
