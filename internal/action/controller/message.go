package controller

import "github.com/avalhq/aval/internal/expr"

// MessageType is what is known of the variable message, as work.message makes it, when this is known of its body.
func MessageType(body *expr.Type) *expr.Type {
	text := expr.Text()
	return expr.Object("message", map[string]*expr.Type{
		"id": text, "type": text, "client": text, "chain": text, "signer": text, "expires": expr.Int(), "body": body,
	}, false)
}
