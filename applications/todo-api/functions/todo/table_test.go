package todo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// The account that the emulator of Azure's storage is known by; its key is public.
const (
	emulatorAccount = "devstoreaccount1"
	emulatorKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Needs an endpoint that speaks Azure Table Storage: TABLE_TEST_ENDPOINT=http://127.0.0.1:10002/devstoreaccount1 with
// `azurite-table` of npm's package `azurite`.
func TestTableIsAStore(t *testing.T) {
	endpoint := os.Getenv("TABLE_TEST_ENDPOINT")
	if endpoint == "" {
		t.Skip("TABLE_TEST_ENDPOINT is not set")
	}
	name := fmt.Sprintf("todos%d", time.Now().UnixNano())
	tables, err := NewTable(http.DefaultClient, endpoint, emulatorAccount, emulatorKey, "Tables")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := tables.call(context.Background(), http.MethodPost, "", nil, "", map[string]string{"TableName": name})
	if err != nil || answer.must(http.StatusCreated, http.StatusNoContent) != nil {
		t.Fatalf("the table is not made: %d %s %v", answer.status, answer.body, err)
	}
	store, err := NewTable(http.DefaultClient, endpoint, emulatorAccount, emulatorKey, name)
	if err != nil {
		t.Fatal(err)
	}
	checkStore(t, store)
	foreign, err := NewTable(http.DefaultClient, endpoint, emulatorAccount, "d3Jvbmc=", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Get(context.Background(), "milk"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a wrong key: %v", err)
	}
}

// A service that answers by a list, one answer after another.
func answering(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *Table {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(answers) == 0 {
			t.Errorf("one request too many: %s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answer := answers[0]
		answers = answers[1:]
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if len(answers) > 0 {
			t.Errorf("%d answers were not asked for", len(answers))
		}
	})
	store, err := NewTable(server.Client(), server.URL, "account", "a2V5", "todos")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func status(code int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", "version")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

const milk = `{"RowKey":"milk","title":"Buy milk","createdAt":"2026-01-02T12:00:00Z"`

func TestATodoThatChangesMeanwhileIsReadAgain(t *testing.T) {
	store := answering(t, status(200, milk+"}"), status(412, ""), status(200, milk+`,"doneAt":"2026-01-02T12:30:00Z"}`))
	todo, err := store.MarkDone(context.Background(), "milk", noon.Add(time.Hour))
	if err != nil || !todo.DoneAt.Equal(noon.Add(30*time.Minute)) {
		t.Errorf("%+v, %v", todo, err)
	}
	if _, err := answering(t, status(200, milk+"}"), status(404, "")).MarkDone(context.Background(), "milk", noon); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed meanwhile: %v", err)
	}
	always := []func(http.ResponseWriter, *http.Request){}
	for range 5 {
		always = append(always, status(200, milk+"}"), status(412, ""))
	}
	if _, err := answering(t, always...).MarkDone(context.Background(), "milk", noon); !errors.Is(err, ErrBusy) {
		t.Errorf("changed all the time: %v", err)
	}
}

func TestAPageThatTheServiceEndsEarlyIsFilled(t *testing.T) {
	early := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-ms-continuation-NextPartitionKey", "todos")
		w.Header().Set("x-ms-continuation-NextRowKey", "milk")
		_, _ = w.Write([]byte(`{"value":[]}`))
	}
	rest := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("NextRowKey") != "milk" || r.URL.Query().Get("$top") != "3" {
			t.Errorf("goes on at %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"value":[` + milk + `}]}`))
	}
	page, err := answering(t, early, rest).List(context.Background(), 3, "")
	if err != nil || len(page.Todos) != 1 || page.Next != "" {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestATableThatFailsIsTold(t *testing.T) {
	for code, busy := range map[int]bool{503: true, 429: true, 500: false, 403: false} {
		for name, work := range map[string]func(*Table) error{
			"create": func(s *Table) error {
				return s.Create(context.Background(), Todo{ID: "a", Title: "x", CreatedAt: noon})
			},
			"list":   func(s *Table) error { _, err := s.List(context.Background(), 1, ""); return err },
			"get":    func(s *Table) error { _, err := s.Get(context.Background(), "a"); return err },
			"delete": func(s *Table) error { return s.Delete(context.Background(), "a") },
		} {
			if err := work(answering(t, status(code, "said"))); err == nil || errors.Is(err, ErrBusy) != busy {
				t.Errorf("%s, %d: %v", name, code, err)
			}
		}
	}
	for _, body := range []string{"", "{", `{"RowKey":"a"}`, `{"RowKey":"a","title":"x"}`, milk + `,"doneAt":"noon"}`} {
		if todo, err := answering(t, status(200, body)).Get(context.Background(), "a"); err == nil {
			t.Errorf("%s is taken for %+v", body, todo)
		}
	}
}

func TestAnAccountThatIsNoneIsRefused(t *testing.T) {
	for _, check := range [][2]string{{"http://127.0.0.1", "not base64"}, {"http://127.0.0.1", ""}, {"nowhere", "a2V5"}, {"", "a2V5"}} {
		if _, err := NewTable(http.DefaultClient, check[0], "account", check[1], "todos"); err == nil {
			t.Errorf("%q is accepted", check)
		}
	}
}
