package api

import "context"

// AlertTried is what became of a test alert at one receiver.
type AlertTried struct {
	Receiver string  `json:"receiver"` // its kind and address, without what is secret in it
	OK       bool    `json:"ok"`
	Text     string  `json:"text"`
	Took     Seconds `json:"took_seconds"`
}

// AlertTest asks for a test alert.
type AlertTest struct {
	Receiver string `json:"receiver,omitempty"` // only this one, or this kind: script, mail, webhook, trap; empty: all
}

// AlertTest has this node's daemon tell the receivers that this is a test.
func (c *Client) AlertTest(ctx context.Context, r AlertTest) ([]AlertTried, error) {
	list, err := post[[]AlertTried](ctx, c, "/v1/alerts/test", r)
	if err != nil {
		return nil, err
	}
	return *list, nil
}
