package todo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Dynamo is a Store in a DynamoDB table whose partition key is the string `id`. The only attribute that a todo need
// not have is `doneAt`; times are text in RFC 3339.
type Dynamo struct {
	client *dynamodb.Client
	table  string
}

// NewDynamo makes a store of a table that exists.
func NewDynamo(client *dynamodb.Client, table string) *Dynamo {
	return &Dynamo{client: client, table: table}
}

func (d *Dynamo) Create(ctx context.Context, todo Todo) error {
	_, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:           &d.table,
		Item:                toItem(todo),
		ConditionExpression: aws.String("attribute_not_exists(id)"),
	})
	var taken *types.ConditionalCheckFailedException
	if errors.As(err, &taken) {
		return ErrExists
	}
	return explained(err)
}

// A scan with a limit reads that many items and no more, however large the table is.
func (d *Dynamo) List(ctx context.Context, limit int, after string) (Page, error) {
	input := &dynamodb.ScanInput{TableName: &d.table, Limit: aws.Int32(int32(limit))}
	if after != "" {
		input.ExclusiveStartKey = key(after)
	}
	output, err := d.client.Scan(ctx, input)
	if err != nil {
		return Page{}, explained(err)
	}
	page := Page{Todos: make([]Todo, 0, len(output.Items))}
	for _, item := range output.Items {
		todo, err := fromItem(item)
		if err != nil {
			return Page{}, err
		}
		page.Todos = append(page.Todos, todo)
	}
	if last, more := output.LastEvaluatedKey["id"].(*types.AttributeValueMemberS); more {
		page.Next = last.Value
	}
	return page, nil
}

func (d *Dynamo) Get(ctx context.Context, id string) (Todo, error) {
	output, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &d.table, Key: key(id)})
	if err != nil {
		return Todo{}, explained(err)
	}
	if len(output.Item) == 0 {
		return Todo{}, ErrNotFound
	}
	return fromItem(output.Item)
}

func (d *Dynamo) MarkDone(ctx context.Context, id string, at time.Time) (Todo, error) {
	output, err := d.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:           &d.table,
		Key:                 key(id),
		ConditionExpression: aws.String("attribute_exists(id)"),
		UpdateExpression:    aws.String("SET done = :true, doneAt = if_not_exists(doneAt, :at)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":true": &types.AttributeValueMemberBOOL{Value: true},
			":at":   &types.AttributeValueMemberS{Value: timeText(at)},
		},
		ReturnValues: types.ReturnValueAllNew,
	})
	var missing *types.ConditionalCheckFailedException
	if errors.As(err, &missing) {
		return Todo{}, ErrNotFound
	}
	if err != nil {
		return Todo{}, explained(err)
	}
	return fromItem(output.Attributes)
}

// The old item tells whether there was one; a condition would tell the same as a failed call, which a trace counts as an error.
func (d *Dynamo) Delete(ctx context.Context, id string) error {
	output, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName:    &d.table,
		Key:          key(id),
		ReturnValues: types.ReturnValueAllOld,
	})
	if err != nil {
		return explained(err)
	}
	if len(output.Attributes) == 0 {
		return ErrNotFound
	}
	return nil
}

// explained tells a store that is busy from one that is broken.
func explained(err error) error {
	var failure smithy.APIError
	if errors.As(err, &failure) {
		switch failure.ErrorCode() {
		case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	return err
}

func key(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}
}

func timeText(at time.Time) string {
	return at.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
}

func toItem(todo Todo) map[string]types.AttributeValue {
	item := map[string]types.AttributeValue{
		"id":        &types.AttributeValueMemberS{Value: todo.ID},
		"title":     &types.AttributeValueMemberS{Value: todo.Title},
		"done":      &types.AttributeValueMemberBOOL{Value: todo.Done},
		"createdAt": &types.AttributeValueMemberS{Value: timeText(todo.CreatedAt)},
	}
	if todo.DoneAt != nil {
		item["doneAt"] = &types.AttributeValueMemberS{Value: timeText(*todo.DoneAt)}
	}
	return item
}

func fromItem(item map[string]types.AttributeValue) (Todo, error) {
	id, hasID := item["id"].(*types.AttributeValueMemberS)
	title, hasTitle := item["title"].(*types.AttributeValueMemberS)
	done, hasDone := item["done"].(*types.AttributeValueMemberBOOL)
	created, hasCreated := item["createdAt"].(*types.AttributeValueMemberS)
	if !hasID || !hasTitle || !hasDone || !hasCreated {
		return Todo{}, errors.New("an item of the table is not a todo")
	}
	createdAt, err := time.Parse(time.RFC3339Nano, created.Value)
	if err != nil {
		return Todo{}, fmt.Errorf("the todo %s: createdAt: %w", id.Value, err)
	}
	todo := Todo{ID: id.Value, Title: title.Value, Done: done.Value, CreatedAt: createdAt}
	if text, isDone := item["doneAt"].(*types.AttributeValueMemberS); isDone {
		doneAt, err := time.Parse(time.RFC3339Nano, text.Value)
		if err != nil {
			return Todo{}, fmt.Errorf("the todo %s: doneAt: %w", id.Value, err)
		}
		todo.DoneAt = &doneAt
	}
	return todo, nil
}
