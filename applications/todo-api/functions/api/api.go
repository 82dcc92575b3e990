// Package api answers HTTP requests as API Gateway hands them to Lambda: one handler for each operation on todos.
package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-xray-sdk-go/xray"

	"todoapi/todo"
)

// maxBody is the largest request body in bytes: room for the longest title, escaped.
const maxBody = 4096

// API has what the handlers need.
type API struct {
	Store todo.Store
	Now   func() time.Time
}

// Handler answers one request. An error is a defect of ours or of the platform, never of the request.
type Handler func(context.Context, events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error)

type (
	request  = events.APIGatewayProxyRequest
	response = events.APIGatewayProxyResponse
)

// rejected is a mistake in the request, told to the caller.
type rejected struct{ reason string }

func (r rejected) Error() string { return r.reason }

// Create makes a todo of `{"title": "…", "id": "…"}`, where the id may be left out.
func (a *API) Create(ctx context.Context, event request) (response, error) {
	return answer(ctx, "create", func(ctx context.Context) (response, error) {
		var body struct {
			ID    string `json:"id"`
			Title string `json:"title"`
		}
		if err := decode(event, &body); err != nil {
			return response{}, err
		}
		created, err := todo.New(body.ID, body.Title, a.Now())
		if err != nil {
			return response{}, rejected{err.Error()}
		}
		if err := a.Store.Create(ctx, created); err != nil {
			return response{}, err
		}
		answer, err := document(http.StatusCreated, created)
		answer.Headers["Location"] = "/todos/" + created.ID
		return answer, err
	})
}

// List gives a page of todos: `?limit=` how many, `?after=` the `next` of the page before.
func (a *API) List(ctx context.Context, event request) (response, error) {
	return answer(ctx, "list", func(ctx context.Context) (response, error) {
		limit := todo.DefaultPage
		if text, given := event.QueryStringParameters["limit"]; given {
			number, err := strconv.Atoi(text)
			if err != nil || number < 1 || number > todo.MaxPage {
				return response{}, rejected{fmt.Sprintf("limit is a number from 1 to %d", todo.MaxPage)}
			}
			limit = number
		}
		after := event.QueryStringParameters["after"]
		if after != "" {
			if err := todo.CheckID(after); err != nil {
				return response{}, rejected{"after: " + err.Error()}
			}
		}
		page, err := a.Store.List(ctx, limit, after)
		if err != nil {
			return response{}, err
		}
		return document(http.StatusOK, page)
	})
}

// Get gives one todo.
func (a *API) Get(ctx context.Context, event request) (response, error) {
	return a.one(ctx, "get", event, func(ctx context.Context, id string) (response, error) {
		found, err := a.Store.Get(ctx, id)
		if err != nil {
			return response{}, err
		}
		return document(http.StatusOK, found)
	})
}

// Done sets a todo done; doing so again changes nothing.
func (a *API) Done(ctx context.Context, event request) (response, error) {
	return a.one(ctx, "done", event, func(ctx context.Context, id string) (response, error) {
		changed, err := a.Store.MarkDone(ctx, id, a.Now())
		if err != nil {
			return response{}, err
		}
		return document(http.StatusOK, changed)
	})
}

// Delete removes a todo.
func (a *API) Delete(ctx context.Context, event request) (response, error) {
	return a.one(ctx, "delete", event, func(ctx context.Context, id string) (response, error) {
		if err := a.Store.Delete(ctx, id); err != nil {
			return response{}, err
		}
		return response{StatusCode: http.StatusNoContent}, nil
	})
}

// one is for operations on the todo that the path names.
func (a *API) one(ctx context.Context, operation string, event request, work func(context.Context, string) (response, error)) (response, error) {
	return answer(ctx, operation, func(ctx context.Context) (response, error) {
		id := event.PathParameters["id"]
		if err := todo.CheckID(id); err != nil {
			return response{}, rejected{err.Error()}
		}
		return work(ctx, id)
	})
}

// answer runs an operation in a subsegment of its own and makes its failures answers. Only what is not the caller's
// doing marks the subsegment as a fault, and reaches the log but not the caller.
func answer(ctx context.Context, operation string, work func(context.Context) (response, error)) (response, error) {
	var result response
	failure := xray.Capture(ctx, operation, func(ctx context.Context) error {
		var err error
		result, err = work(ctx)
		var status int
		var mistake rejected
		switch {
		case err == nil:
			return nil
		case errors.As(err, &mistake):
			status = http.StatusBadRequest
		case errors.Is(err, todo.ErrNotFound):
			status = http.StatusNotFound
		case errors.Is(err, todo.ErrExists):
			status = http.StatusConflict
		default:
			return err
		}
		result = problem(status, err.Error())
		return nil
	})
	switch {
	case failure == nil:
		return result, nil
	case errors.Is(failure, todo.ErrBusy):
		slog.WarnContext(ctx, "the store is busy", "operation", operation, "error", failure)
		result = problem(http.StatusServiceUnavailable, "busy; try again in a moment")
		result.Headers["Retry-After"] = "1"
	default:
		slog.ErrorContext(ctx, "operation failed", "operation", operation, "error", failure)
		result = problem(http.StatusInternalServerError, "internal error")
	}
	return result, nil
}

// decode reads exactly one JSON object with known keys.
func decode(event request, into any) error {
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return rejected{"the body is not base64"}
		}
	}
	if len(body) > maxBody {
		return rejected{fmt.Sprintf("the body has %d bytes; %d are allowed", len(body), maxBody)}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return rejected{"the body is empty; it must be a JSON object"}
		}
		return rejected{"the body is not what it must be: " + err.Error()}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return rejected{"the body goes on after its JSON object"}
	}
	return nil
}

func document(status int, content any) (response, error) {
	text, err := json.Marshal(content)
	return response{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": "application/json"},
		Body:       string(text),
	}, err
}

func problem(status int, reason string) response {
	// A map of strings always has a JSON form.
	answer, _ := document(status, map[string]string{"error": reason})
	return answer
}
