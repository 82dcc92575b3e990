// Command azure serves all operations to the host of Azure Functions, as a custom handler: the host forwards each
// request of a function in ../../azure to it over HTTP.
package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"todoapi/api"
	"todoapi/todo"
)

// mostRead is how much of a body is read: more than the API allows, so that it refuses what was cut off here.
const mostRead = 64 << 10

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	// The operations draw subsegments, which nothing takes here.
	err := os.Setenv("AWS_XRAY_SDK_DISABLED", "TRUE")
	var store *todo.Table
	if err == nil {
		store, err = fromConnection(os.Getenv("TABLE_CONNECTION"), os.Getenv("TABLE_NAME"))
	}
	if err == nil {
		server := &http.Server{
			Addr:              "127.0.0.1:" + os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"),
			Handler:           routes(&api.API{Store: store, Now: time.Now}),
			ReadHeaderTimeout: 5 * time.Second,
		}
		err = server.ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

// routes are those of the function.json files.
func routes(a *api.API) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /todos", forward(a.Create))
	mux.HandleFunc("GET /todos", forward(a.List))
	mux.HandleFunc("GET /todos/{id}", forward(a.Get))
	mux.HandleFunc("PUT /todos/{id}/done", forward(a.Done))
	mux.HandleFunc("DELETE /todos/{id}", forward(a.Delete))
	return mux
}

// forward hands a request to an operation in the form that API Gateway gives it.
func forward(operation api.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, mostRead))
		if err != nil {
			slog.WarnContext(r.Context(), "the request ended early", "error", err)
			return
		}
		query := map[string]string{}
		for name, values := range r.URL.Query() {
			query[name] = values[len(values)-1]
		}
		answer, err := operation(r.Context(), events.APIGatewayProxyRequest{
			Body:                  string(body),
			PathParameters:        map[string]string{"id": r.PathValue("id")},
			QueryStringParameters: query,
		})
		if err != nil {
			slog.ErrorContext(r.Context(), "operation failed", "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		for name, value := range answer.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(answer.StatusCode)
		if _, err := io.WriteString(w, answer.Body); err != nil {
			slog.WarnContext(r.Context(), "the caller is gone", "error", err)
		}
	}
}

// fromConnection makes the store of a storage account's connection string.
func fromConnection(connection, table string) (*todo.Table, error) {
	if connection == "" || table == "" {
		return nil, errors.New("TABLE_CONNECTION or TABLE_NAME is not set")
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(connection, ";") {
		name, value, _ := strings.Cut(part, "=")
		parts[name] = value
	}
	endpoint := parts["TableEndpoint"]
	if endpoint == "" {
		endpoint = "https://" + parts["AccountName"] + ".table." + parts["EndpointSuffix"]
	}
	if parts["AccountName"] == "" || endpoint == "" || strings.HasSuffix(endpoint, ".table.") {
		return nil, errors.New("TABLE_CONNECTION names no account, or no endpoint")
	}
	// A call that hangs fails while the caller still waits.
	client := &http.Client{Timeout: 5 * time.Second}
	return todo.NewTable(client, endpoint, parts["AccountName"], parts["AccountKey"], table)
}
