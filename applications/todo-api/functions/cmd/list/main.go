// Command list is the Lambda function of the operation `list`.
package main

import "todoapi/api"

func main() {
	api.Start(func(a *api.API) api.Handler { return a.List })
}
