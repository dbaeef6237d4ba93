package gateway

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// Command is `tidings token --user alice`, with its arguments: it writes a token for development and tests.
func (c *AuthConfig) Command(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tidings token", flag.ContinueOnError)
	user := flags.String("user", "", "the user ID, the token's sub")
	groups := flags.String("groups", "", "the user's groups, separated by commas")
	ttl := flags.Duration("ttl", time.Hour, "how long the token is good for")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *user == "" || flags.NArg() > 0 {
		return errors.New("token needs a user: tidings token --user alice [--groups a,b] [--ttl 1h]")
	}
	var list []string
	if *groups != "" {
		list = strings.Split(*groups, ",")
	}
	text, err := c.Mint(*user, list, *ttl, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
