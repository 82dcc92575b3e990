// Command done is the Lambda function of the operation `done`.
package main

import "todoapi/api"

func main() {
	api.Start(func(a *api.API) api.Handler { return a.Done })
}
