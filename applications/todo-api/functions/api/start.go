package api

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-xray-sdk-go/instrumentation/awsv2"

	"todoapi/todo"
)

// Start serves one operation on the table that TABLE_NAME names, with every call to DynamoDB in the trace. It does not
// return. What it sets up is part of a cold start, and is done once for all requests of an instance.
func Start(operation func(*API) Handler) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	table := os.Getenv("TABLE_NAME")
	if table == "" {
		slog.Error("TABLE_NAME is not set")
		os.Exit(1)
	}
	// A call that hangs is tried again while the caller still waits.
	client := http.NewBuildableClient().WithTimeout(2 * time.Second)
	settings, err := config.LoadDefaultConfig(context.Background(), config.WithHTTPClient(client))
	if err != nil {
		slog.Error("no AWS configuration", "error", err)
		os.Exit(1)
	}
	awsv2.AWSV2Instrumentor(&settings.APIOptions)
	store := todo.NewDynamo(dynamodb.NewFromConfig(settings), table)
	lambda.Start(operation(&API{Store: store, Now: time.Now}))
}
