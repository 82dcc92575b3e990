package todo

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is a Store in this process: for tests, and for trying the API without a database.
type Memory struct {
	mutex sync.Mutex
	todos map[string]Todo
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{todos: map[string]Todo{}}
}

func (m *Memory) Create(_ context.Context, todo Todo) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if _, taken := m.todos[todo.ID]; taken {
		return ErrExists
	}
	m.todos[todo.ID] = todo
	return nil
}

func (m *Memory) List(_ context.Context, limit int, after string) (Page, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	ids := make([]string, 0, len(m.todos))
	for id := range m.todos {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	page := Page{Todos: []Todo{}}
	for _, id := range ids[:min(limit, len(ids))] {
		page.Todos = append(page.Todos, m.todos[id])
	}
	if limit < len(ids) {
		page.Next = ids[limit-1]
	}
	return page, nil
}

func (m *Memory) Get(_ context.Context, id string) (Todo, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	todo, found := m.todos[id]
	if !found {
		return Todo{}, ErrNotFound
	}
	return todo, nil
}

func (m *Memory) MarkDone(_ context.Context, id string, at time.Time) (Todo, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	todo, found := m.todos[id]
	if !found {
		return Todo{}, ErrNotFound
	}
	if !todo.Done {
		at = at.UTC().Truncate(time.Millisecond)
		todo.Done, todo.DoneAt = true, &at
		m.todos[id] = todo
	}
	return todo, nil
}

func (m *Memory) Delete(_ context.Context, id string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if _, found := m.todos[id]; !found {
		return ErrNotFound
	}
	delete(m.todos, id)
	return nil
}
