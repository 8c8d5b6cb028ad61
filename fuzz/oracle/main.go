// Command oracle says what Go's text/template with Sprig makes of a template, by the rules of the templating contract.
//
//	oracle serve          one line of JSON in (a list of questions), one line out (their answers), until the input ends
//	oracle table FILE     the conformance table FILE with its expected answers renewed, on the standard output
//	oracle bench FILE     nanoseconds per compilation and per evaluation of each question of FILE
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
	case len(arguments) == 2 && arguments[0] == "table":
		return renewTable(arguments[1], os.Stdout)
	case len(arguments) == 2 && arguments[0] == "bench":
		return measure(arguments[1], os.Stdout)
	}
	return fmt.Errorf("usage: oracle serve | oracle table FILE | oracle bench FILE")
}

// question is one template over its variables; the bounds of the engine do not exist here, but for the output.
type question struct {
	Template string         `json:"template"`
	Vars     map[string]any `json:"vars"`
}

// answer is a JSON value, or why there is none: Kind is value, parse, error, blocked or offloaded.
type answer struct {
	Kind    string `json:"kind"`
	Value   any    `json:"value"`
	Fault   string `json:"fault,omitempty"`
	Message string `json:"message,omitempty"`
}

func serve(input io.Reader, output io.Writer) error {
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
		answers := make([]answer, len(questions))
		for i, asked := range questions {
			answers[i] = ask(asked)
		}
		if err := writeJSON(writer, answers); err != nil {
			return err
		}
		if err := writer.Flush(); err != nil {
			return err
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

// table is the conformance table: data by name, and cases of [template, data, kind, expected].
type table struct {
	Data  map[string]map[string]any `json:"data"`
	Cases [][4]any                  `json:"cases"`
}

func renewTable(path string, output io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var known table
	if err := json.Unmarshal(text, &known); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var lines bytes.Buffer
	lines.WriteString("{\"data\": ")
	data, err := oneLine(known.Data)
	if err != nil {
		return err
	}
	lines.WriteString(data + ",\n\"cases\": [\n")
	for i, row := range known.Cases {
		template, dataName := row[0].(string), row[1].(string)
		vars, ok := known.Data[dataName]
		if !ok {
			return fmt.Errorf("%s: case %d: there is no data %q", path, i, dataName)
		}
		given := ask(question{template, vars})
		row[2], row[3] = given.Kind, given.Value
		if given.Kind != "value" {
			row[3] = given.Fault
		}
		line, err := oneLine(row)
		if err != nil {
			return fmt.Errorf("%s: case %d: %w", path, i, err)
		}
		separator := ",\n"
		if i == len(known.Cases)-1 {
			separator = "\n"
		}
		lines.WriteString(line + separator)
	}
	lines.WriteString("]}\n")
	_, err = output.Write(lines.Bytes())
	return err
}

func oneLine(value any) (string, error) {
	var line bytes.Buffer
	err := writeJSON(&line, value)
	return string(bytes.TrimRight(line.Bytes(), "\n")), err
}
