package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"todoapi/todo"
)

// Without Lambda there is no segment to hang subsegments on.
func TestMain(m *testing.M) {
	os.Setenv("AWS_XRAY_SDK_DISABLED", "TRUE")
	os.Exit(m.Run())
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// broken is a store in which every operation fails.
type broken struct{ err error }

func (b broken) Create(context.Context, todo.Todo) error              { return b.err }
func (b broken) List(context.Context, int, string) (todo.Page, error) { return todo.Page{}, b.err }
func (b broken) Get(context.Context, string) (todo.Todo, error)       { return todo.Todo{}, b.err }
func (b broken) MarkDone(context.Context, string, time.Time) (todo.Todo, error) {
	return todo.Todo{}, b.err
}
func (b broken) Delete(context.Context, string) error { return b.err }

func operations(a *API) map[string]Handler {
	return map[string]Handler{"create": a.Create, "list": a.List, "get": a.Get, "done": a.Done, "delete": a.Delete}
}

func seeded(t *testing.T) *API {
	t.Helper()
	store := todo.NewMemory()
	for _, id := range []string{"a", "b", "c"} {
		if err := store.Create(context.Background(), todo.Todo{ID: id, Title: "todo " + id, CreatedAt: noon}); err != nil {
			t.Fatal(err)
		}
	}
	return &API{Store: store, Now: func() time.Time { return noon.Add(time.Minute) }}
}

func byID(id string) events.APIGatewayProxyRequest {
	return events.APIGatewayProxyRequest{PathParameters: map[string]string{"id": id}}
}

func withBody(body string) events.APIGatewayProxyRequest {
	return events.APIGatewayProxyRequest{Body: body}
}

func query(pairs ...string) events.APIGatewayProxyRequest {
	parameters := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		parameters[pairs[i]] = pairs[i+1]
	}
	return events.APIGatewayProxyRequest{QueryStringParameters: parameters}
}

func TestRequestsAreAnswered(t *testing.T) {
	encoded := withBody(base64.StdEncoding.EncodeToString([]byte(`{"id":"new","title":"Buy milk"}`)))
	encoded.IsBase64Encoded = true
	notBase64 := withBody("%")
	notBase64.IsBase64Encoded = true

	for name, check := range map[string]struct {
		operation string
		event     events.APIGatewayProxyRequest
		status    int
		holds     string
	}{
		"create":                    {"create", withBody(`{"id":"new","title":" Buy milk "}`), 201, `{"id":"new","title":"Buy milk","done":false,"createdAt":"2026-01-02T12:01:00Z"}`},
		"create, base64":            {"create", encoded, 201, `"id":"new"`},
		"create, id drawn":          {"create", withBody(`{"title":"Buy milk"}`), 201, `"title":"Buy milk"`},
		"create, taken":             {"create", withBody(`{"id":"a","title":"Buy milk"}`), 409, "exists already"},
		"create, no title":          {"create", withBody(`{}`), 400, "needs a title"},
		"create, title is a number": {"create", withBody(`{"title":1}`), 400, "title"},
		"create, unknown key":       {"create", withBody(`{"title":"x","done":true}`), 400, "done"},
		"create, list":              {"create", withBody(`[]`), 400, "body"},
		"create, two documents":     {"create", withBody(`{"title":"x"}{}`), 400, "goes on"},
		"create, cut off":           {"create", withBody(`{"title":"x`), 400, "body"},
		"create, empty body":        {"create", withBody(""), 400, "empty"},
		"create, huge body":         {"create", withBody(`{"title":"` + strings.Repeat("x", maxBody) + `"}`), 400, "4096 are allowed"},
		"create, broken base64":     {"create", notBase64, 400, "base64"},
		"list":                      {"list", query(), 200, `{"todos":[{"id":"a",`},
		"list, first page":          {"list", query("limit", "2"), 200, `"next":"b"}`},
		"list, next page":           {"list", query("limit", "2", "after", "b"), 200, `{"todos":[{"id":"c",`},
		"list, end":                 {"list", query("after", "c"), 200, `{"todos":[]}`},
		"list, limit 0":             {"list", query("limit", "0"), 400, "1 to 100"},
		"list, limit 101":           {"list", query("limit", "101"), 400, "1 to 100"},
		"list, limit is text":       {"list", query("limit", "ten"), 400, "1 to 100"},
		"list, bad cursor":          {"list", query("after", "a b"), 400, "after"},
		"get":                       {"get", byID("b"), 200, `"title":"todo b"`},
		"get, missing":              {"get", byID("nothing"), 404, "no such todo"},
		"get, bad id":               {"get", byID("a b"), 400, "an id is"},
		"get, no id":                {"get", events.APIGatewayProxyRequest{}, 400, "an id is"},
		"done":                      {"done", byID("a"), 200, `"done":true,"createdAt":"2026-01-02T12:00:00Z","doneAt":"2026-01-02T12:01:00Z"`},
		"done, missing":             {"done", byID("nothing"), 404, "no such todo"},
		"delete":                    {"delete", byID("a"), 204, ""},
		"delete, missing":           {"delete", byID("nothing"), 404, "no such todo"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := operations(seeded(t))[check.operation](context.Background(), check.event)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != check.status || !strings.Contains(answer.Body, check.holds) {
				t.Errorf("%d %s", answer.StatusCode, answer.Body)
			}
			if answer.Body != "" && (answer.Headers["Content-Type"] != "application/json" || !json.Valid([]byte(answer.Body))) {
				t.Errorf("not JSON: %v %s", answer.Headers, answer.Body)
			}
			if answer.StatusCode == 201 && !strings.HasPrefix(answer.Headers["Location"], "/todos/") {
				t.Errorf("location: %v", answer.Headers)
			}
		})
	}
}

func TestAStoreThatFailsIsNotTheCallersFault(t *testing.T) {
	events := map[string]events.APIGatewayProxyRequest{
		"create": withBody(`{"title":"x"}`), "list": query(), "get": byID("a"), "done": byID("a"), "delete": byID("a"),
	}
	for name, check := range map[string]struct {
		err    error
		status int
	}{
		"broken": {errors.New("the table `secret-name` is gone"), 500},
		"busy":   {fmt.Errorf("%w: slow down", todo.ErrBusy), 503},
	} {
		for operation, handler := range operations(&API{Store: broken{check.err}, Now: time.Now}) {
			answer, err := handler(context.Background(), events[operation])
			if err != nil || answer.StatusCode != check.status {
				t.Errorf("%s %s: %d, %v", name, operation, answer.StatusCode, err)
			}
			if strings.Contains(answer.Body, "secret-name") {
				t.Errorf("%s %s tells the caller of our insides: %s", name, operation, answer.Body)
			}
			if (answer.Headers["Retry-After"] != "") != (check.status == 503) {
				t.Errorf("%s %s: %v", name, operation, answer.Headers)
			}
		}
	}
}

func TestATodoLivesThroughAllOperations(t *testing.T) {
	a := &API{Store: todo.NewMemory(), Now: func() time.Time { return noon }}
	do := func(operation string, event events.APIGatewayProxyRequest) events.APIGatewayProxyResponse {
		answer, err := operations(a)[operation](context.Background(), event)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var made todo.Todo
	if err := json.Unmarshal([]byte(do("create", withBody(`{"title":"Buy milk"}`)).Body), &made); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		operation string
		status    int
		holds     string
	}{
		{"get", 200, `"done":false`}, {"done", 200, `"done":true`}, {"get", 200, `"done":true`},
		{"delete", 204, ""}, {"get", 404, ""}, {"done", 404, ""}, {"delete", 404, ""},
	}
	for _, step := range steps {
		if answer := do(step.operation, byID(made.ID)); answer.StatusCode != step.status || !strings.Contains(answer.Body, step.holds) {
			t.Fatalf("%s: %d %s", step.operation, answer.StatusCode, answer.Body)
		}
	}
}
