package todo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// partition holds all todos, which keeps the list in one place and in the order of ids.
const partition = "todos"

// Table is a Store in a table of Azure Table Storage, over the service's own REST interface. All properties are text;
// a todo is done when it has `doneAt`.
type Table struct {
	client   *http.Client
	endpoint string // with the table, without a slash at the end
	path     string // of the endpoint, as signatures have it
	account  string
	key      []byte
}

// entity is a todo as the table has it.
type entity struct {
	PartitionKey string `json:"PartitionKey,omitempty"`
	RowKey       string `json:"RowKey,omitempty"`
	Title        string `json:"title,omitempty"`
	CreatedAt    string `json:"createdAt,omitempty"`
	DoneAt       string `json:"doneAt,omitempty"`
}

// NewTable makes a store of a table that exists. The endpoint is that of the account's tables, the key the account's, in base64.
func NewTable(client *http.Client, endpoint, account, key, table string) (*Table, error) {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) == 0 {
		return nil, errors.New("the key of the storage account is not base64")
	}
	address, err := url.Parse(strings.TrimSuffix(endpoint, "/") + "/" + table)
	if err != nil || address.Host == "" {
		return nil, errors.New("the address of the storage account's tables is not a URL")
	}
	return &Table{client: client, endpoint: address.String(), path: address.EscapedPath(), account: account, key: secret}, nil
}

func (t *Table) Create(ctx context.Context, todo Todo) error {
	content := toEntity(todo)
	content.PartitionKey, content.RowKey = partition, todo.ID
	answer, err := t.call(ctx, http.MethodPost, "", nil, "", content)
	if err != nil {
		return err
	}
	if answer.status == http.StatusConflict {
		return ErrExists
	}
	return answer.must(http.StatusCreated, http.StatusNoContent)
}

// The service may end a page early, at a boundary of its own, and then tells where to go on.
func (t *Table) List(ctx context.Context, limit int, after string) (Page, error) {
	filter := "PartitionKey eq '" + partition + "'"
	if after != "" {
		filter += " and RowKey gt '" + after + "'"
	}
	query := url.Values{"$filter": {filter}}
	page := Page{Todos: make([]Todo, 0, limit)}
	for {
		query.Set("$top", strconv.Itoa(limit-len(page.Todos)))
		answer, err := t.call(ctx, http.MethodGet, "()", query, "", nil)
		if err != nil {
			return Page{}, err
		}
		if err := answer.must(http.StatusOK); err != nil {
			return Page{}, err
		}
		var found struct {
			Value []entity `json:"value"`
		}
		if err := json.Unmarshal(answer.body, &found); err != nil {
			return Page{}, fmt.Errorf("the list of entities: %w", err)
		}
		for _, one := range found.Value {
			todo, err := fromEntity(one)
			if err != nil {
				return Page{}, err
			}
			page.Todos = append(page.Todos, todo)
		}
		row := answer.header.Get("x-ms-continuation-NextRowKey")
		if row == "" {
			return page, nil
		}
		if len(page.Todos) >= limit {
			page.Next = page.Todos[len(page.Todos)-1].ID
			return page, nil
		}
		query.Set("NextPartitionKey", answer.header.Get("x-ms-continuation-NextPartitionKey"))
		query.Set("NextRowKey", row)
	}
}

func (t *Table) Get(ctx context.Context, id string) (Todo, error) {
	todo, _, err := t.fetch(ctx, id)
	return todo, err
}

// The table has no conditional expression: what was read is written only if nobody has changed it since.
func (t *Table) MarkDone(ctx context.Context, id string, at time.Time) (Todo, error) {
	for range 5 {
		todo, tag, err := t.fetch(ctx, id)
		if err != nil || todo.Done {
			return todo, err
		}
		at = at.UTC().Truncate(time.Millisecond)
		answer, err := t.call(ctx, "MERGE", row(id), nil, tag, &entity{DoneAt: timeText(at)})
		if err != nil {
			return Todo{}, err
		}
		switch answer.status {
		case http.StatusPreconditionFailed:
			continue
		case http.StatusNotFound:
			return Todo{}, ErrNotFound
		}
		todo.Done, todo.DoneAt = true, &at
		return todo, answer.must(http.StatusNoContent)
	}
	return Todo{}, fmt.Errorf("%w: %s is changed all the time", ErrBusy, id)
}

func (t *Table) Delete(ctx context.Context, id string) error {
	answer, err := t.call(ctx, http.MethodDelete, row(id), nil, "*", nil)
	if err != nil {
		return err
	}
	if answer.status == http.StatusNotFound {
		return ErrNotFound
	}
	return answer.must(http.StatusNoContent)
}

func (t *Table) fetch(ctx context.Context, id string) (Todo, string, error) {
	answer, err := t.call(ctx, http.MethodGet, row(id), nil, "", nil)
	if err != nil {
		return Todo{}, "", err
	}
	if answer.status == http.StatusNotFound {
		return Todo{}, "", ErrNotFound
	}
	if err := answer.must(http.StatusOK); err != nil {
		return Todo{}, "", err
	}
	var found entity
	if err := json.Unmarshal(answer.body, &found); err != nil {
		return Todo{}, "", fmt.Errorf("the entity %s: %w", id, err)
	}
	todo, err := fromEntity(found)
	return todo, answer.header.Get("ETag"), err
}

// tableAnswer is what the service said.
type tableAnswer struct {
	status int
	header http.Header
	body   []byte
}

// must tells a service that is busy from one that is broken. Its text names the account, and is for the log alone.
func (a tableAnswer) must(statuses ...int) error {
	for _, status := range statuses {
		if a.status == status {
			return nil
		}
	}
	said := fmt.Errorf("the table service answers %d: %s", a.status, bytes.TrimSpace(a.body))
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		return fmt.Errorf("%w: %w", ErrBusy, said)
	}
	return said
}

// call sends one signed request; `below` is what follows the table's name, `match` the version that may be changed.
func (t *Table) call(ctx context.Context, method, below string, query url.Values, match string, content any) (tableAnswer, error) {
	var body []byte
	if content != nil {
		var err error
		if body, err = json.Marshal(content); err != nil {
			return tableAnswer{}, err
		}
	}
	address := t.endpoint + below
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return tableAnswer{}, err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	for name, value := range map[string]string{
		"Accept":        "application/json;odata=nometadata",
		"Authorization": t.signature(date, below),
		"x-ms-date":     date,
		"x-ms-version":  "2019-02-02",
		"Prefer":        "return-no-content",
		"If-Match":      match,
	} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := t.client.Do(request)
	if err != nil {
		return tableAnswer{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	return tableAnswer{status: answer.StatusCode, header: answer.Header, body: text}, err
}

// signature is the scheme SharedKeyLite of the Table service: the date and the path, signed with the account's key.
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
func (t *Table) signature(date, below string) string {
	code := hmac.New(sha256.New, t.key)
	fmt.Fprintf(code, "%s\n/%s%s%s", date, t.account, t.path, below)
	return "SharedKeyLite " + t.account + ":" + base64.StdEncoding.EncodeToString(code.Sum(nil))
}

// row names an entity. Ids have no character that would need an escape.
func row(id string) string {
	return "(PartitionKey='" + partition + "',RowKey='" + id + "')"
}

func toEntity(todo Todo) *entity {
	made := entity{Title: todo.Title, CreatedAt: timeText(todo.CreatedAt)}
	if todo.DoneAt != nil {
		made.DoneAt = timeText(*todo.DoneAt)
	}
	return &made
}

func fromEntity(found entity) (Todo, error) {
	if found.RowKey == "" || found.Title == "" {
		return Todo{}, errors.New("an entity of the table is not a todo")
	}
	createdAt, err := time.Parse(time.RFC3339Nano, found.CreatedAt)
	if err != nil {
		return Todo{}, fmt.Errorf("the todo %s: createdAt: %w", found.RowKey, err)
	}
	todo := Todo{ID: found.RowKey, Title: found.Title, CreatedAt: createdAt}
	if found.DoneAt != "" {
		doneAt, err := time.Parse(time.RFC3339Nano, found.DoneAt)
		if err != nil {
			return Todo{}, fmt.Errorf("the todo %s: doneAt: %w", found.RowKey, err)
		}
		todo.Done, todo.DoneAt = true, &doneAt
	}
	return todo, nil
}
