// Command get is the Lambda function of the operation `get`.
package main

import "todoapi/api"

func main() {
	api.Start(func(a *api.API) api.Handler { return a.Get })
}
