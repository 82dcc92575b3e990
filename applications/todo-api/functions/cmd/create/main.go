// Command create is the Lambda function of the operation `create`.
package main

import "todoapi/api"

func main() {
	api.Start(func(a *api.API) api.Handler { return a.Create })
}
