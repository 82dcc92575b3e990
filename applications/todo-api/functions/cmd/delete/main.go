// Command delete is the Lambda function of the operation `delete`.
package main

import "todoapi/api"

func main() {
	api.Start(func(a *api.API) api.Handler { return a.Delete })
}
