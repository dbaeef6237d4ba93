package k8s

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is a line of the Dockerfile: its word and the rest.
type instruction struct{ word, rest string }

// stages are the instructions of the Dockerfile by stage; what stands before the first FROM is the first.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(text), "")
	all := [][]instruction{nil}
	for line := range strings.Lines(strings.ReplaceAll(lines, "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			continue
		}
		if word == "FROM" {
			all = append(all, nil)
		}
		last := len(all) - 1
		all[last] = append(all[last], instruction{word, strings.Join(strings.Fields(rest), " ")})
	}
	if len(all) != 3 {
		t.Fatalf("got %d stages, want arguments, build and image", len(all))
	}
	return all
}

// image is the last stage.
func image(t *testing.T) []instruction { s := stages(t); return s[len(s)-1] }

func given(stage []instruction, word string) []string {
	var found []string
	for _, i := range stage {
		if i.word == word {
			found = append(found, i.rest)
		}
	}
	return found
}

func TestTheImageIsTheBinaryAndNoMore(t *testing.T) {
	for word, want := range map[string][]string{
		"FROM": {"scratch"}, "USER": {"65532:65532"}, "ENTRYPOINT": {`["/tidings"]`}, "EXPOSE": {"8080 9090"},
		"RUN": nil, "CMD": nil, "SHELL": nil, "ADD": nil, "VOLUME": nil, "WORKDIR": nil,
	} {
		if got := given(image(t), word); !slices.Equal(got, want) {
			t.Errorf("got %s %q, want %q", word, got, want)
		}
	}
	for _, c := range given(image(t), "COPY") {
		if !strings.HasPrefix(c, "--from=build /") || len(strings.Fields(c)) != 3 {
			t.Errorf("got COPY %s, want one file of the build", c)
		}
	}
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range tidings(t, all) {
			if s := w.spec().SecurityContext; *s.RunAsUser != 65532 || *s.RunAsGroup != 65532 {
				t.Errorf("%s runs as %d:%d, want the image's user", w, *s.RunAsUser, *s.RunAsGroup)
			}
			if c := w.container(); len(c.Command) > 0 {
				t.Errorf("%s has a command of its own: %q", w, c.Command)
			}
		}
	})
}

var goBuild = regexp.MustCompile(`CGO_ENABLED=0 go build .* -o \S+ \.$`)

// buildCommand is how the Dockerfile makes the binary.
func buildCommand(t *testing.T) string {
	t.Helper()
	for _, run := range given(stages(t)[1], "RUN") {
		if c := goBuild.FindString(run); c != "" {
			return c
		}
	}
	t.Fatal("the Dockerfile builds nothing")
	return ""
}

var output = regexp.MustCompile(` -o \S+ `)

// What CI builds is what runs.
func TestTheImageIsBuiltAsInCI(t *testing.T) {
	ci, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(string(ci)) {
		if c := goBuild.FindString(strings.TrimSpace(line)); c != "" {
			commands = append(commands, output.ReplaceAllString(c, " "))
		}
	}
	if want := output.ReplaceAllString(buildCommand(t), " "); len(commands) != 1 || commands[0] != want {
		t.Errorf(".ci/run builds with %q, the Dockerfile with %q", commands, want)
	}
}

func TestTheBuilderIsPinned(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	least := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	builder := regexp.MustCompile(`^BUILDER=golang:(\d+\.\d+)\.\d+-\w+$`).FindStringSubmatch(given(stages(t)[0], "ARG")[0])
	if least == nil || builder == nil || builder[1] != least[1] {
		t.Errorf("got the builder %q for go.mod's %q, want the same version of Go with a patch", builder, least)
	}
	if from := given(stages(t)[1], "FROM"); !strings.Contains(from[0], "${BUILDER}") {
		t.Errorf("got FROM %s, want the argument", from[0])
	}
}
