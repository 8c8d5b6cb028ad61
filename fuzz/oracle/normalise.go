package main

import (
	"regexp"
	"strconv"
	"strings"
)

// Normalisation: roots get their dot, string subscripts become calls of index; only inside of actions.
// Templating contract 3.1.

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
	roots      = map[string]bool{"inputs": true, "steps": true, "packet": true}
)

func normalise(text string) string {
	var out strings.Builder
	for {
		start := strings.Index(text, "{{")
		if start < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:start])
		length := actionLength(text[start:])
		if length < 0 {
			out.WriteString(text[start:])
			return out.String()
		}
		out.WriteString(normaliseAction(text[start : start+length]))
		text = text[start+length:]
	}
}

// actionLength is the length of the action at the start of text, delimiters included; -1 when it has no end.
func actionLength(text string) int {
	at := 2
	body := text[2:]
	if strings.HasPrefix(body, "- ") {
		body = body[2:]
	}
	if lead := strings.TrimLeft(body, " \t\r\n"); strings.HasPrefix(lead, "/*") {
		end := strings.Index(text, "*/")
		if end < 0 {
			return -1
		}
		at = end + 2
	}
	for at < len(text) {
		if quoted := quotedLength(text[at:]); quoted > 0 {
			at += quoted
			continue
		}
		if strings.HasPrefix(text[at:], "}}") {
			return at + 2
		}
		at++
	}
	return -1
}

// quotedLength is the length of the quoted text that starts here, or 0.
func quotedLength(text string) int {
	quote := text[0]
	if quote != '"' && quote != '\'' && quote != '`' {
		return 0
	}
	for at := 1; at < len(text); at++ {
		switch {
		case text[at] == '\\' && quote != '`':
			at++
		case text[at] == quote:
			return at + 1
		}
	}
	return len(text)
}

func normaliseAction(action string) string {
	body, left, right := action[2:len(action)-2], "{{", "}}"
	if strings.HasPrefix(body, "-") {
		body, left = body[1:], "{{-"
	}
	if strings.HasSuffix(body, "-") {
		body, right = body[:len(body)-1], "-}}"
	}
	if strings.HasPrefix(strings.TrimSpace(body), "/*") {
		return action
	}
	return left + rewriteSubscripts(dotRoots(body)) + right
}

func dotRoots(body string) string {
	var out strings.Builder
	for at := 0; at < len(body); {
		if quoted := quotedLength(body[at:]); quoted > 0 {
			out.WriteString(body[at : at+quoted])
			at += quoted
			continue
		}
		name := identifier.FindString(body[at:])
		if name == "" {
			out.WriteByte(body[at])
			at++
			continue
		}
		if roots[name] && (at == 0 || !isPartOfName(body[at-1])) {
			out.WriteByte('.')
		}
		out.WriteString(name)
		at += len(name)
	}
	return out.String()
}

func isPartOfName(char byte) bool {
	return char == '.' || char == '$' || isNameByte(char)
}

func isNameByte(char byte) bool {
	return char == '_' || '0' <= char && char <= '9' || 'A' <= char && char <= 'Z' || 'a' <= char && char <= 'z'
}

// rewriteSubscripts turns RECEIVER["key"] into (index RECEIVER "key"), leftmost first, until nothing is left to turn.
func rewriteSubscripts(body string) string {
	for {
		rewritten, found := rewriteFirstSubscript(body)
		if !found {
			return body
		}
		body = rewritten
	}
}

func rewriteFirstSubscript(body string) (string, bool) {
	for at := 0; at < len(body); {
		if quoted := quotedLength(body[at:]); quoted > 0 {
			at += quoted
			continue
		}
		if body[at] != '[' {
			at++
			continue
		}
		if key, end, ok := subscriptKey(body, at); ok {
			if start := receiverStart(body, at); start < at {
				call := "(index " + body[start:at] + " " + strconv.Quote(key) + ")"
				return body[:start] + call + body[end:], true
			}
		}
		at++
	}
	return "", false
}

// subscriptKey is the key of the subscript at body[open], and the offset behind its bracket.
func subscriptKey(body string, open int) (key string, end int, ok bool) {
	at := open + 1
	for at < len(body) && (body[at] == ' ' || body[at] == '\t') {
		at++
	}
	if at >= len(body) || body[at] != '"' && body[at] != '\'' {
		return "", 0, false
	}
	quoted := quotedLength(body[at:])
	key, err := strconv.Unquote(body[at : at+quoted])
	at += quoted
	for at < len(body) && (body[at] == ' ' || body[at] == '\t') {
		at++
	}
	return key, at + 1, err == nil && at < len(body) && body[at] == ']'
}

// receiverStart is where the run of names, dots, dashes and balanced parentheses that ends at end begins.
func receiverStart(body string, end int) int {
	at := end
	for at > 0 {
		char := body[at-1]
		switch {
		case isNameByte(char) || char == '.' || char == '-':
			at--
		case char == ')':
			open := openingParenthesis(body, at-1)
			if open < 0 {
				return at
			}
			at = open
		default:
			return at
		}
	}
	return at
}

// openingParenthesis is the offset of the partner of the parenthesis at body[closing], or -1.
func openingParenthesis(body string, closing int) int {
	var open []int
	for at := 0; at <= closing; {
		if quoted := quotedLength(body[at:]); quoted > 0 {
			at += quoted
			continue
		}
		switch body[at] {
		case '(':
			open = append(open, at)
		case ')':
			if len(open) == 0 {
				return -1
			}
			if at == closing {
				return open[len(open)-1]
			}
			open = open[:len(open)-1]
		}
		at++
	}
	return -1
}
