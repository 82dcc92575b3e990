// Package todo is the application itself: what a todo is, what may be done with it, and what a store must be able to do.
// It knows neither Lambda nor a database.
package todo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxTitle is the longest title, in characters.
	MaxTitle = 200
	// DefaultPage is how many todos a page has unless the caller says otherwise.
	DefaultPage = 20
	// MaxPage is how many todos a page has at most: it bounds what one request can cost.
	MaxPage = 100
)

var (
	// ErrNotFound says that there is no todo with that id.
	ErrNotFound = errors.New("no such todo")
	// ErrExists says that the id is taken.
	ErrExists = errors.New("a todo with this id exists already")
	// ErrBusy says that the store refuses work for now, and that trying again later can help.
	ErrBusy = errors.New("the store is busy")
)

// Todo is one thing to do.
type Todo struct {
	ID        string     `json:"id"`
	Title     string     `json:"title"`
	Done      bool       `json:"done"`
	CreatedAt time.Time  `json:"createdAt"`
	DoneAt    *time.Time `json:"doneAt,omitempty"`
}

// Page is a part of the list. Next is the id to go on after, and empty on the last page.
type Page struct {
	Todos []Todo `json:"todos"`
	Next  string `json:"next,omitempty"`
}

// Store keeps todos. All errors that are not one of this package's are the store's own failures.
type Store interface {
	// Create keeps a new todo; ErrExists when its id is taken.
	Create(ctx context.Context, todo Todo) error
	// List gives up to limit todos that come after an id in the store's own order, which stays the same; "" starts.
	List(ctx context.Context, limit int, after string) (Page, error)
	// Get gives the todo with that id; ErrNotFound when there is none.
	Get(ctx context.Context, id string) (Todo, error)
	// MarkDone sets a todo done and gives it back. One that is done already keeps the time when it was done first.
	MarkDone(ctx context.Context, id string, at time.Time) (Todo, error)
	// Delete removes the todo with that id; ErrNotFound when there was none.
	Delete(ctx context.Context, id string) error
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckID says what is wrong with an id, or nothing.
func CheckID(id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("an id is 1 to 64 letters, digits, `-` and `_`, and starts with a letter or digit")
	}
	return nil
}

// New makes a todo. Without an id it draws one.
func New(id, title string, at time.Time) (Todo, error) {
	title = strings.TrimSpace(title)
	if !utf8.ValidString(title) {
		return Todo{}, errors.New("the title is not UTF-8")
	}
	if title == "" {
		return Todo{}, errors.New("a todo needs a title")
	}
	if length := utf8.RuneCountInString(title); length > MaxTitle {
		return Todo{}, fmt.Errorf("the title has %d characters; %d are allowed", length, MaxTitle)
	}
	if strings.ContainsFunc(title, unicode.IsControl) {
		return Todo{}, errors.New("the title holds a control character")
	}
	if id == "" {
		id = strings.ToLower(rand.Text())
	} else if err := CheckID(id); err != nil {
		return Todo{}, err
	}
	return Todo{ID: id, Title: title, CreatedAt: at.UTC().Truncate(time.Millisecond)}, nil
}
