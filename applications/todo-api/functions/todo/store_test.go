package todo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// What every store must do, whichever it is.
func checkStore(t *testing.T, store Store) {
	t.Helper()
	ctx := context.Background()

	if _, err := store.Get(ctx, "milk"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get before create: %v", err)
	}
	if _, err := store.MarkDone(ctx, "milk", noon); !errors.Is(err, ErrNotFound) {
		t.Fatalf("done before create: %v", err)
	}
	if err := store.Delete(ctx, "milk"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("delete before create: %v", err)
	}

	milk := Todo{ID: "milk", Title: "Buy milk — 2 l", CreatedAt: noon}
	if err := store.Create(ctx, milk); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(ctx, Todo{ID: "milk", Title: "other", CreatedAt: noon}); !errors.Is(err, ErrExists) {
		t.Fatalf("second create: %v", err)
	}
	if got, err := store.Get(ctx, "milk"); err != nil || got != milk {
		t.Fatalf("get: %+v, %v", got, err)
	}

	first, err := store.MarkDone(ctx, "milk", noon.Add(time.Hour))
	if err != nil || !first.Done || first.DoneAt == nil || !first.DoneAt.Equal(noon.Add(time.Hour)) || first.Title != milk.Title {
		t.Fatalf("done: %+v, %v", first, err)
	}
	again, err := store.MarkDone(ctx, "milk", noon.Add(2*time.Hour))
	if err != nil || !again.DoneAt.Equal(*first.DoneAt) {
		t.Fatalf("done again changes when it was done: %+v, %v", again, err)
	}

	for number := range 6 {
		todo := Todo{ID: fmt.Sprintf("todo-%d", number), Title: "x", CreatedAt: noon}
		if err := store.Create(ctx, todo); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	pages, after := 0, ""
	for {
		page, err := store.List(ctx, 3, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Todos) > 3 {
			t.Fatalf("a page of %d", len(page.Todos))
		}
		for _, todo := range page.Todos {
			if seen[todo.ID] {
				t.Fatalf("%s is listed twice", todo.ID)
			}
			seen[todo.ID] = true
		}
		if pages++; page.Next == "" {
			break
		}
		after = page.Next
	}
	if len(seen) != 7 || pages < 3 {
		t.Fatalf("%d todos on %d pages", len(seen), pages)
	}

	if err := store.Delete(ctx, "milk"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(ctx, "milk"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get after delete: %v", err)
	}
}

func TestMemoryIsAStore(t *testing.T) {
	checkStore(t, NewMemory())
}

// Needs an endpoint that speaks DynamoDB: DYNAMODB_TEST_ENDPOINT=http://127.0.0.1:5000 with moto_server, say.
func TestDynamoIsAStore(t *testing.T) {
	endpoint := os.Getenv("DYNAMODB_TEST_ENDPOINT")
	if endpoint == "" {
		t.Skip("DYNAMODB_TEST_ENDPOINT is not set")
	}
	client := dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	table := fmt.Sprintf("todo-test-%d", time.Now().UnixNano())
	_, err := client.CreateTable(context.Background(), &dynamodb.CreateTableInput{
		TableName:            &table,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	checkStore(t, NewDynamo(client, table))
}

func TestItemsKeepTodos(t *testing.T) {
	doneAt := noon.Add(1500 * time.Millisecond)
	for _, todo := range []Todo{
		{ID: "a", Title: "open", CreatedAt: noon},
		{ID: "b", Title: "“done” ✓", Done: true, CreatedAt: noon, DoneAt: &doneAt},
	} {
		got, err := fromItem(toItem(todo))
		if err != nil {
			t.Fatal(err)
		}
		if (got.DoneAt == nil) != (todo.DoneAt == nil) || (got.DoneAt != nil && !got.DoneAt.Equal(*todo.DoneAt)) {
			t.Fatalf("%+v became %+v", todo, got)
		}
		got.DoneAt = todo.DoneAt
		if got != todo {
			t.Fatalf("%+v became %+v", todo, got)
		}
	}
}

func TestForeignItemsAreRefused(t *testing.T) {
	for name, change := range map[string]func(map[string]types.AttributeValue){
		"no title":  func(item map[string]types.AttributeValue) { delete(item, "title") },
		"done as S": func(item map[string]types.AttributeValue) { item["done"] = &types.AttributeValueMemberS{Value: "yes"} },
		"no time": func(item map[string]types.AttributeValue) {
			item["createdAt"] = &types.AttributeValueMemberS{Value: "noon"}
		},
		"bad doneAt": func(item map[string]types.AttributeValue) { item["doneAt"] = &types.AttributeValueMemberS{Value: "1"} },
	} {
		item := toItem(Todo{ID: "a", Title: "t", CreatedAt: noon})
		change(item)
		if _, err := fromItem(item); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestThrottlingIsTold(t *testing.T) {
	busy := &smithy.GenericAPIError{Code: "ThrottlingException"}
	if err := explained(busy); !errors.Is(err, ErrBusy) || !errors.Is(err, busy) {
		t.Errorf("throttled: %v", err)
	}
	broken := &smithy.GenericAPIError{Code: "ResourceNotFoundException"}
	if err := explained(broken); errors.Is(err, ErrBusy) {
		t.Errorf("broken: %v", err)
	}
	if explained(nil) != nil {
		t.Error("no error became one")
	}
}

func TestNewChecksItsInput(t *testing.T) {
	for name, check := range map[string]struct {
		id, title string
		accepted  bool
	}{
		"plain":                {"", "Buy milk", true},
		"own id":               {"a-B_1", "Buy milk", true},
		"spaces around":        {"", "  Buy milk ", true},
		"longest":              {"", strings.Repeat("ü", MaxTitle), true},
		"too long":             {"", strings.Repeat("ü", MaxTitle+1), false},
		"empty":                {"", "", false},
		"only spaces":          {"", " \t ", false},
		"control character":    {"", "a\x00b", false},
		"not UTF-8":            {"", "\xff", false},
		"id with a slash":      {"a/b", "t", false},
		"id starts with dash":  {"-a", "t", false},
		"id of 64 characters":  {strings.Repeat("a", 64), "t", true},
		"id of 65 characters":  {strings.Repeat("a", 65), "t", false},
		"id with a line break": {"a\n", "t", false},
	} {
		todo, err := New(check.id, check.title, noon)
		if (err == nil) != check.accepted {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (CheckID(todo.ID) != nil || todo.Title != strings.TrimSpace(check.title) || todo.Done) {
			t.Errorf("%s: %+v", name, todo)
		}
	}
	first, _ := New("", "t", noon)
	second, _ := New("", "t", noon)
	if first.ID == second.ID {
		t.Error("two todos with one id")
	}
}
