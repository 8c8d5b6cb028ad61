package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// One string of a manifest over its variables: templating contract 2 (resolve-string), 3.2 to 3.5 and 4.

const (
	storageReference = "$bubuStorageRef"
	storagePath      = "$bubuStoragePath"
	maxOutputBytes   = 65536
)

var (
	simplePath = regexp.MustCompile(`^\.[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)
	indexPath  = regexp.MustCompile(`^\(index\s+\.(inputs|steps|packet)\s+("(?:[^"\\]|\\.)*")\s*\)((?:\.[A-Za-z0-9_-]+)*)$`)
	indexCall  = regexp.MustCompile(`^index\s+\.(inputs|steps|packet)\s+("(?:[^"\\]|\\.)*")$`)
	builtIns   = functionNames(strings.Fields(
		"and call eq ge gt html index js le len lt ne not or print printf println slice urlquery"))
)

func functionNames(names []string) map[string]any {
	known := map[string]any{}
	for _, name := range names {
		known[name] = fmt.Sprint
	}
	return known
}

func resolve(text string, vars map[string]any) (any, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	normal := normalise(text)
	trimmed := strings.TrimSpace(normal)
	single := isSingleAction(trimmed)
	if single {
		if path, ok := typedPath(strings.TrimSpace(trimmed[2 : len(trimmed)-2])); ok {
			return followPath(path, vars)
		}
	}
	program, err := compile(normal)
	if err != nil {
		return nil, err
	}
	if err := refuseOffloaded(program.Tree.Root, vars); err != nil {
		return nil, err
	}
	output, err := render(program, vars)
	if err != nil {
		return nil, err
	}
	if single {
		if value, ok := decodeDocument(output); ok {
			return value, nil
		}
	}
	return output, nil
}

func compile(normal string) (*template.Template, error) {
	program, err := template.New("template").Option("missingkey=zero").Funcs(functions).Parse(normal)
	if err != nil {
		return nil, &parseError{err}
	}
	if program.Tree == nil { // only definitions
		return template.New("template").Parse("")
	}
	return program, nil
}

type boundedBuffer struct{ bytes.Buffer }

func (b *boundedBuffer) Write(data []byte) (int, error) {
	if b.Len()+len(data) > maxOutputBytes {
		return 0, errOutput
	}
	return b.Buffer.Write(data)
}

func render(program *template.Template, vars map[string]any) (string, error) {
	var output boundedBuffer
	if err := program.Execute(&output, vars); err != nil {
		return "", err
	}
	return output.String(), nil
}

func isSingleAction(trimmed string) bool {
	if !strings.HasPrefix(trimmed, "{{") || !strings.HasSuffix(trimmed, "}}") {
		return false
	}
	trees, err := parse.Parse("template", trimmed, "{{", "}}", builtIns)
	if err != nil || trees["template"] == nil || trees["template"].Root == nil {
		return false
	}
	nodes := trees["template"].Root.Nodes
	return len(nodes) == 1 && nodes[0].Type() == parse.NodeAction
}

func decodeDocument(text string) (any, bool) {
	decoder := json.NewDecoder(strings.NewReader(text))
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF
}

// Paths that keep the type of what they lead to.

func typedPath(expression string) ([]string, bool) {
	if simplePath.MatchString(expression) {
		return strings.Split(expression[1:], "."), true
	}
	found := indexPath.FindStringSubmatch(expression)
	if found == nil {
		found = indexCall.FindStringSubmatch(expression)
	}
	if found == nil {
		return nil, false
	}
	key, err := strconv.Unquote(found[2])
	if err != nil {
		return nil, false
	}
	path := []string{found[1], key}
	if len(found) > 3 && found[3] != "" {
		path = append(path, strings.Split(found[3][1:], ".")...)
	}
	return path, true
}

func followPath(path []string, vars map[string]any) (any, error) {
	if path[0] == "steps" {
		if selected := selectStored(path, vars); selected != nil {
			return selected, nil
		}
	}
	var value any = vars
	for i, key := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, &pathError{"path-type", strings.Join(path[:i], "."), false}
		}
		if value, ok = object[key]; !ok {
			return nil, &pathError{"missing", strings.Join(path[:i+1], "."), path[0] == "steps"}
		}
	}
	return value, nil
}

// selectStored is the reference to the part of an offloaded output that path leads to, or nil.
func selectStored(path []string, vars map[string]any) map[string]any {
	var value any = vars
	for i, key := range path[:len(path)-1] {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[key]
		if key != "output" && key != "outputs" {
			continue
		}
		if target, ok := referenceTarget(value); ok {
			return map[string]any{storageReference: target, storagePath: strings.Join(path[i+1:], ".")}
		}
		return nil
	}
	return nil
}

func referenceTarget(value any) (string, bool) {
	object, _ := value.(map[string]any)
	target, ok := object[storageReference].(string)
	return target, ok && strings.TrimSpace(target) != ""
}

// Offloaded data in a larger template.

func refuseOffloaded(root *parse.ListNode, vars map[string]any) error {
	steps, _ := vars["steps"].(map[string]any)
	names := map[string]bool{}
	collectSteps(root, names)
	for name := range names {
		if holdsReference(steps[name]) {
			return &offloadedError{name}
		}
	}
	return nil
}

func collectSteps(node parse.Node, names map[string]bool) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				collectSteps(child, names)
			}
		}
	case *parse.ActionNode:
		collectSteps(n.Pipe, names)
	case *parse.IfNode:
		collectBranch(&n.BranchNode, names)
	case *parse.RangeNode:
		collectBranch(&n.BranchNode, names)
	case *parse.WithNode:
		collectBranch(&n.BranchNode, names)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			collectCommand(command, names)
		}
	case *parse.ChainNode:
		collectSteps(n.Node, names)
	case *parse.FieldNode:
		if n.Ident[0] == "steps" && len(n.Ident) > 1 {
			names[n.Ident[1]] = true
		}
	}
}

func collectBranch(branch *parse.BranchNode, names map[string]bool) {
	collectSteps(branch.Pipe, names)
	collectSteps(branch.List, names)
	collectSteps(branch.ElseList, names)
}

func collectCommand(command *parse.CommandNode, names map[string]bool) {
	if len(command.Args) >= 3 {
		function, isName := command.Args[0].(*parse.IdentifierNode)
		field, isField := command.Args[1].(*parse.FieldNode)
		key, isText := command.Args[2].(*parse.StringNode)
		if isName && isField && isText && function.Ident == "index" && len(field.Ident) == 1 && field.Ident[0] == "steps" {
			names[key.Text] = true
		}
	}
	for _, argument := range command.Args {
		collectSteps(argument, names)
	}
}

func holdsReference(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		if _, ok := v[storageReference]; ok {
			return true
		}
		for _, item := range v {
			if holdsReference(item) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if holdsReference(item) {
				return true
			}
		}
	}
	return false
}
