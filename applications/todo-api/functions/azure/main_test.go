package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"todoapi/api"
	"todoapi/todo"
)

// Without Lambda there is no segment to hang subsegments on.
func TestMain(m *testing.M) {
	os.Setenv("AWS_XRAY_SDK_DISABLED", "TRUE")
	os.Exit(m.Run())
}

func TestATodoLivesThroughAllOperations(t *testing.T) {
	server := httptest.NewServer(routes(&api.API{Store: todo.NewMemory(), Now: time.Now}))
	defer server.Close()
	for _, step := range []struct {
		method, path, body string
		status             int
		holds              string
	}{
		{"POST", "/todos", `{"id":"a","title":"Buy milk"}`, 201, `"id":"a"`},
		{"POST", "/todos", `{"id":"a","title":"Buy milk"}`, 409, "exists already"},
		{"POST", "/todos", strings.Repeat("x", mostRead+1), 400, "4096 are allowed"},
		{"POST", "/todos", "", 400, "empty"},
		{"GET", "/todos?limit=1", "", 200, `{"todos":[{"id":"a"`},
		{"GET", "/todos?limit=5&limit=0", "", 400, "1 to 100"},
		{"GET", "/todos/a", "", 200, `"done":false`},
		{"GET", "/todos/%20", "", 400, "an id is"},
		{"GET", "/todos/a/done", "", 405, ""},
		{"PUT", "/todos/a/done", "", 200, `"done":true`},
		{"DELETE", "/todos/a", "", 204, ""},
		{"DELETE", "/todos/a", "", 404, "no such todo"},
		{"GET", "/elsewhere", "", 404, ""},
	} {
		request, err := http.NewRequest(step.method, server.URL+step.path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != step.status || !strings.Contains(string(body), step.holds) {
			t.Errorf("%s %s: %d %s", step.method, step.path, answer.StatusCode, body)
		}
	}
}

// What the host is told, and what the handler serves, are the same routes.
func TestTheHostForwardsWhatIsServed(t *testing.T) {
	files, err := filepath.Glob("../../azure/*/function.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var function struct {
			Bindings []struct {
				Type, Direction, Route, AuthLevel string
				Methods                           []string
			}
		}
		if err := json.Unmarshal(text, &function); err != nil {
			t.Fatal(err)
		}
		trigger := function.Bindings[0]
		if trigger.Type != "httpTrigger" || trigger.AuthLevel != "anonymous" || len(trigger.Methods) != 1 || len(function.Bindings) != 2 {
			t.Errorf("%s: %+v", file, function)
			continue
		}
		request := httptest.NewRequest(strings.ToUpper(trigger.Methods[0]), "/"+trigger.Route, nil)
		_, pattern := routes(&api.API{Store: todo.NewMemory(), Now: time.Now}).(*http.ServeMux).Handler(request)
		if want := request.Method + " /" + trigger.Route; pattern != want {
			t.Errorf("%s: %q is served as %q", file, want, pattern)
		}
	}
}

func TestConnectionStrings(t *testing.T) {
	for text, accepted := range map[string]bool{
		"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PQ==;EndpointSuffix=core.windows.net": true,
		"AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:10002/a":                             true,
		"AccountName=a;AccountKey=a2V5":                   false,
		"AccountKey=a2V5;EndpointSuffix=core.windows.net": false,
		"AccountName=a;EndpointSuffix=core.windows.net":   false,
		"": false,
	} {
		if _, err := fromConnection(text, "todos"); (err == nil) != accepted {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := fromConnection("AccountName=a;AccountKey=a2V5;EndpointSuffix=x", ""); err == nil {
		t.Error("no table")
	}
}

func TestOperationsAreNamedOnce(t *testing.T) {
	entries, err := os.ReadDir("../../azure")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	if !slices.Equal(names, []string{"create", "delete", "done", "get", "list"}) {
		t.Error(names)
	}
}
